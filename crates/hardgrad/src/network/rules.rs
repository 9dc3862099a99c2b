//! What rules make of a network: quantisers at weights, and behind the values that layers read.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Device;

use super::Network;
use super::entry::Entry;
use super::error::NetworkError;
use super::node::NodeModule;
use crate::quantize::{QuantizeError, QuantizerConfig, RangeMethod, StepClock};
use crate::runtime::{Op, Rule};

/// Bits that mean float32.
pub const FLOAT_BITS: u32 = 32;

/// What the rules say of one node.
#[derive(Clone, Debug)]
struct Settings {
    weights: Option<QuantizerConfig>,
    activations: Option<QuantizerConfig>,
}

/// The network with the quantisers of these rules, of which later ones win.
pub(super) fn quantized(
    network: Network,
    rules: &[Rule],
    delay: u64,
    clock: &StepClock,
) -> Result<Network, NetworkError> {
    let is_quantizer = |entry: &Entry| matches!(entry.module, NodeModule::Quantizer(_));
    if network.entries.iter().any(is_quantizer) || !network.weight_codes().is_empty() {
        return Err(NetworkError::Quantized);
    }
    let hard = network.entries.iter().filter(|entry| is_hard(entry)).map(|entry| entry.name.clone());
    let hard: Vec<String> = hard.collect();
    if let Some(rule) = rules.iter().find(|rule| !hard.iter().any(|name| rule.matches(name))) {
        return Err(NetworkError::NoNode { nodes: rule.nodes.clone(), names: nearest(&rule.nodes, hard) });
    }
    let mut settings = BTreeMap::new();
    for name in hard {
        settings.insert(name.clone(), of_node(&name, rules, delay)?);
    }
    let device = network.collect_devices(Vec::new()).into_iter().next().unwrap_or_else(Device::flex);
    let behind = quantizers(&network, &settings)?;
    let description = (*network.description).clone();
    let entries = with_quantizers(network.entries, &settings, &behind, clock, &device)?;
    Ok(Network::of(description, entries))
}

/// How many names an error lists.
const LISTED: usize = 6;

/// The names that are most like a pattern, the nearest first.
fn nearest(pattern: &str, mut names: Vec<String>) -> Vec<String> {
    names.sort_by_key(|name| strsim::damerau_levenshtein(pattern, name));
    names.truncate(LISTED);
    names
}

fn is_hard(entry: &Entry) -> bool {
    entry.op.as_ref().is_some_and(Op::has_weights)
}

fn of_node(name: &str, rules: &[Rule], delay: u64) -> Result<Settings, NetworkError> {
    let (mut weights, mut activations) = (QuantizerConfig::weights(8), QuantizerConfig::activations(8));
    let (mut weight_bits, mut activation_bits) = (FLOAT_BITS, FLOAT_BITS);
    let mut per_channel = None;
    (weights.delay, activations.delay) = (delay, delay);
    for rule in rules.iter().filter(|rule| rule.matches(name)) {
        weight_bits = rule.weight_bits.unwrap_or(weight_bits);
        activation_bits = rule.activation_bits.unwrap_or(activation_bits);
        per_channel = rule.per_channel.or(per_channel);
        for (config, word) in [(&mut weights, &rule.weight_range), (&mut activations, &rule.activation_range)] {
            config.zero_point = rule.zero_point.unwrap_or(config.zero_point);
            config.fixed_scale = rule.fixed_scale.map_or(config.fixed_scale, |scale| scale as f32);
            if let Some(word) = word {
                config.range = RangeMethod::by_name(word).ok_or_else(|| NetworkError::Range {
                    nodes: rule.nodes.clone(),
                    word: word.clone(),
                    known: RangeMethod::ALL.map(RangeMethod::name).to_vec(),
                })?;
            }
        }
    }
    let with = |bits: u32, config: QuantizerConfig| (bits != FLOAT_BITS).then_some(QuantizerConfig { bits, ..config });
    // Unless a rule says so: DoReFa has one scale for all weights.
    weights.per_channel = per_channel.unwrap_or(weights.range != RangeMethod::Dorefa);
    Ok(Settings { weights: with(weight_bits, weights), activations: with(activation_bits, activations) })
}

/// A quantiser to be put behind a value.
struct Behind {
    config: QuantizerConfig,
    /// Whether all readers read its codes, not the hard ones alone.
    for_all: bool,
    /// The first layer that wants it.
    reader: String,
}

/// The quantisers by the places of the values behind which they stand.
fn quantizers(
    network: &Network,
    settings: &BTreeMap<String, Settings>,
) -> Result<BTreeMap<usize, Behind>, NetworkError> {
    let entries = &network.entries;
    let never_negative = never_negative(entries);
    // What the first reader of each value wants of it, and who that is.
    let mut wanted: BTreeMap<usize, (Option<QuantizerConfig>, &str)> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_hard(entry)) {
        let place = source(entries, entry.inputs[0]);
        // The network's input is codes already.
        let Some(producer) = place.checked_sub(1) else { continue };
        let config = settings.get(&entry.name).and_then(|settings| settings.activations.clone());
        let config = config.map(|config| QuantizerConfig { signed: !never_negative[place], ..config });
        let (first, reader) = wanted.entry(place).or_insert_with(|| (config.clone(), entry.name.as_str()));
        if *first != config {
            return Err(NetworkError::Readers {
                source_name: entries[producer].name.clone(),
                first: (*reader).to_string(),
                second: entry.name.clone(),
            });
        }
    }
    let behind = wanted.into_iter().filter_map(|(place, (config, reader))| {
        let behind = |config| Behind { config, for_all: never_negative[place], reader: reader.to_string() };
        config.map(|config| (place, behind(config)))
    });
    Ok(behind.collect())
}

/// The place of the value that is only moved on the way to `place`.
fn source(entries: &[Entry], place: usize) -> usize {
    match place.checked_sub(1).map(|entry| &entries[entry]) {
        Some(entry) if moves(entry) => source(entries, entry.inputs[0]),
        Some(_) | None => place,
    }
}

/// Whether an entry gives nothing but values that it reads.
fn moves(entry: &Entry) -> bool {
    entry.op.as_ref().is_some_and(Op::passes_codes)
}

/// For each place whether its values cannot be negative.
fn never_negative(entries: &[Entry]) -> Vec<bool> {
    let mut found = vec![false; entries.len() + 1];
    for (place, entry) in entries.iter().enumerate() {
        let inputs: Vec<bool> = entry.inputs.iter().map(|&input| found[input]).collect();
        found[place + 1] = entry.op.as_ref().is_some_and(|op| op.is_never_negative(&inputs));
    }
    found
}

/// The entries with their quantisers among them, which read what these give.
fn with_quantizers(
    entries: Vec<Entry>,
    settings: &BTreeMap<String, Settings>,
    behind: &BTreeMap<usize, Behind>,
    clock: &StepClock,
    device: &Device,
) -> Result<Vec<Entry>, NetworkError> {
    // Whether what reads a place is, through entries that only move values, a hard layer.
    let mut leads_to_hard = vec![false; entries.len() + 1];
    for (place, entry) in entries.iter().enumerate().rev() {
        if is_hard(entry) || moves(entry) && leads_to_hard[place + 1] {
            leads_to_hard[entry.inputs[0]] = true;
        }
    }
    let reads_codes = |place: usize, entry: &Entry, input: usize| {
        behind
            .get(&input)
            .is_some_and(|behind| behind.for_all || is_hard(entry) || moves(entry) && leads_to_hard[place + 1])
    };
    let wanted: Vec<Vec<bool>> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| entry.inputs.iter().map(|&input| reads_codes(place, entry, input)).collect())
        .collect();
    let failed = |node: &str, problem: QuantizeError| NetworkError::Quantizer { node: node.to_string(), problem };
    // Where the values of the old places are now: as they were, and as codes.
    let (mut values, mut codes) = (vec![0], vec![0]);
    let mut out: Vec<Entry> = Vec::new();
    for (place, Entry { name, op, inputs, module }) in entries.into_iter().enumerate() {
        let inputs: Vec<usize> = inputs
            .into_iter()
            .zip(&wanted[place])
            .map(|(input, coded)| if *coded { codes[input] } else { values[input] })
            .collect();
        let weights = settings.get(&name).and_then(|settings| settings.weights.as_ref());
        let module = match module {
            NodeModule::Conv2d(layer) => layer.quantize(weights, None, clock).map(NodeModule::Conv2d),
            NodeModule::Linear(layer) => layer.quantize(weights, None, clock).map(NodeModule::Linear),
            module => Ok(module),
        };
        let module = module.map_err(|problem| failed(&name, problem))?;
        let quantizer = behind.get(&(place + 1)).map(|behind| {
            let quantizer = behind.config.init_waiting(clock.clone(), device);
            quantizer.map_err(|problem| failed(&behind.reader, problem))
        });
        let quantizer = quantizer.transpose()?;
        let quantizer_name = format!("{name}.quantizer");
        out.push(Entry { name, op, inputs, module });
        values.push(out.len());
        if let Some(quantizer) = quantizer {
            let (inputs, module) = (vec![out.len()], NodeModule::Quantizer(quantizer));
            out.push(Entry { name: quantizer_name, op: None, inputs, module });
        }
        codes.push(out.len());
    }
    Ok(out)
}

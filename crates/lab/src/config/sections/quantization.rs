use hardgrad::quantize::{QuantizerConfig, RangeMethod, Role};
use hardgrad_runtime::{Description, Node, Rule};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use super::{ConfigError, Section, counts, in_range};

/// Bits and range methods. What reads the data's bytes takes them as they are: 8-bit codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizationConfig {
    /// Bits of weights, 1 to 8, or 32 for float32.
    pub weight_bits: u32,
    /// Bits of activations, 1 to 8, or 32 for float32.
    pub activation_bits: u32,
    /// Bits of the first layer's weights.
    pub first_layer_bits: u32,
    /// Bits of the last layer's weights.
    pub last_layer_bits: u32,
    /// Range method of weights: fixed, min_max, lsq or dorefa.
    pub weight_range: RangeMethod,
    /// Range method of activations: fixed, min_max, moving_average, lsq, pact or dorefa.
    pub activation_range: RangeMethod,
    /// One scale for each output channel of a weight.
    pub per_channel: bool,
    /// A zero point for weights and activations; only for min_max and moving_average.
    pub zero_point: bool,
    /// The scale of the fixed range method.
    pub fixed_scale: f64,
    /// Steps of the quantised stage before quantisation begins.
    pub delay: u64,
    /// Training images from which activation ranges are set before the quantised stage.
    pub calibration_images: usize,
    /// What holds for some nodes alone, after all settings above: of two rules that say something about a node, the
    /// later wins.
    pub rules: Vec<Rule>,
}

/// Bits that mean float32.
pub const FLOAT_BITS: u32 = 32;

impl Default for QuantizationConfig {
    fn default() -> Self {
        Self {
            weight_bits: 2,
            activation_bits: 2,
            first_layer_bits: 8,
            last_layer_bits: 8,
            weight_range: RangeMethod::Lsq,
            activation_range: RangeMethod::Lsq,
            per_channel: true,
            zero_point: false,
            fixed_scale: 0.1,
            delay: 0,
            calibration_images: 512,
            rules: Vec::new(),
        }
    }
}

impl Section for QuantizationConfig {
    fn check_values(&self) -> Result<(), ConfigError> {
        check_bits("quantization.weight_bits", self.weight_bits)?;
        check_bits("quantization.activation_bits", self.activation_bits)?;
        check_bits("quantization.first_layer_bits", self.first_layer_bits)?;
        check_bits("quantization.last_layer_bits", self.last_layer_bits)?;
        check_scale("quantization.fixed_scale", self.fixed_scale)?;
        counts("quantization.delay", self.delay, 0)?;
        let (images, range) = (self.calibration_images as f64, 1.0..=10_000.0);
        in_range("quantization.calibration_images", images, range, "a whole number from 1 to 10000")?;
        self.rules.iter().try_for_each(check_rule)
    }

    fn check_together(&self) -> Result<(), ConfigError> {
        [self.weight_bits, self.first_layer_bits, self.last_layer_bits]
            .into_iter()
            .try_for_each(|bits| check_quantizers(&Rule { weight_bits: Some(bits), ..self.everywhere() }))
    }
}

impl QuantizationConfig {
    /// The settings as rules over the names of nodes: one for everything, one for the `first` and one for the `last`
    /// node with weights, then the rules of the config itself.
    pub fn rules(&self, first: &str, last: &str) -> Vec<Rule> {
        let bits_of = |node: &str, bits| Rule { nodes: node.to_string(), weight_bits: Some(bits), ..Rule::all() };
        let short = [self.everywhere(), bits_of(first, self.first_layer_bits), bits_of(last, self.last_layer_bits)];
        short.into_iter().chain(self.rules.iter().cloned()).collect()
    }

    /// [`rules`](Self::rules) for the first and the last node with weights of a network.
    pub fn rules_for(&self, description: &Description) -> Vec<Rule> {
        let mut weighted = description.nodes.iter().filter(|node| node.op.has_weights());
        let first = weighted.next();
        let last = weighted.next_back().or(first);
        let name = |node: Option<&Node>| node.map(|node| node.name.clone()).unwrap_or_default();
        self.rules(&name(first), &name(last))
    }

    /// What holds for all nodes.
    fn everywhere(&self) -> Rule {
        Rule {
            weight_bits: Some(self.weight_bits),
            activation_bits: Some(self.activation_bits),
            weight_range: Some(self.weight_range.name().to_string()),
            activation_range: Some(self.activation_range.name().to_string()),
            per_channel: Some(self.per_channel),
            zero_point: Some(self.zero_point),
            fixed_scale: Some(self.fixed_scale),
            ..Rule::all()
        }
    }
}

/// What the rules say about a node, all taken together.
pub(crate) fn merged<'a>(rules: impl IntoIterator<Item = &'a Rule>, node: &str) -> Rule {
    rules.into_iter().filter(|rule| rule.matches(node)).fold(Rule::all(), |all, rule| {
        let rule = rule.clone();
        Rule {
            nodes: all.nodes,
            weight_bits: rule.weight_bits.or(all.weight_bits),
            activation_bits: rule.activation_bits.or(all.activation_bits),
            weight_range: rule.weight_range.or(all.weight_range),
            activation_range: rule.activation_range.or(all.activation_range),
            per_channel: rule.per_channel.or(all.per_channel),
            zero_point: rule.zero_point.or(all.zero_point),
            fixed_scale: rule.fixed_scale.or(all.fixed_scale),
        }
    })
}

/// Fails where a value of a rule is out of its range.
pub(in crate::config) fn check_rule(rule: &Rule) -> Result<(), ConfigError> {
    let key = "quantization.rules";
    let named =
        |problem| ConfigError::In { source_name: format!("nodes {:?}", rule.nodes), problem: Box::new(problem) };
    rule.weight_bits
        .into_iter()
        .chain(rule.activation_bits)
        .try_for_each(|bits| check_bits(key, bits))
        .map_err(named)?;
    rule.fixed_scale.map_or(Ok(()), |scale| check_scale(key, scale)).map_err(named)?;
    let words = [&rule.weight_range, &rule.activation_range];
    words.into_iter().flatten().try_for_each(|word| method(word).map(drop)).map_err(named)
}

/// Fails where what the rules say about a node does not go together; each value of it is in its range.
pub(in crate::config) fn check_quantizers(rule: &Rule) -> Result<(), ConfigError> {
    if let Some(bits) = rule.weight_bits.filter(|bits| *bits != FLOAT_BITS) {
        let config = of_rule(QuantizerConfig::weights(bits), rule, &rule.weight_range)?;
        let config = QuantizerConfig { per_channel: rule.per_channel.unwrap_or(config.per_channel), ..config };
        let problem = |problem| ConfigError::Quantizer { key: "quantization.weight_range", problem };
        config.check(Role::Weight).map_err(problem)?;
    }
    if let Some(bits) = rule.activation_bits.filter(|bits| *bits != FLOAT_BITS) {
        let config = of_rule(QuantizerConfig::activations(bits), rule, &rule.activation_range)?;
        let problem = |problem| ConfigError::Quantizer { key: "quantization.activation_range", problem };
        config.check(Role::Activation).map_err(problem)?;
    }
    Ok(())
}

/// A quantiser with what a rule says of both weights and activations, and with one of its range methods.
fn of_rule(config: QuantizerConfig, rule: &Rule, range: &Option<String>) -> Result<QuantizerConfig, ConfigError> {
    Ok(QuantizerConfig {
        range: range.as_deref().map_or(Ok(config.range), method)?,
        zero_point: rule.zero_point.unwrap_or(config.zero_point),
        fixed_scale: rule.fixed_scale.map_or(config.fixed_scale, |scale| scale as f32),
        ..config
    })
}

/// The range method of this name.
fn method(word: &str) -> Result<RangeMethod, ConfigError> {
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
    let expected = "such that its ranges are fixed, min_max, moving_average, lsq, pact or dorefa";
    RangeMethod::deserialize(text).map_err(|_| ConfigError::range("quantization.rules", expected, word))
}

fn check_bits(key: &'static str, bits: u32) -> Result<(), ConfigError> {
    if (1..=8).contains(&bits) || bits == FLOAT_BITS {
        return Ok(());
    }
    Err(ConfigError::range(key, "1 to 8, or 32 for float32", bits))
}

fn check_scale(key: &'static str, scale: f64) -> Result<(), ConfigError> {
    in_range(key, scale, f64::from(f32::MIN_POSITIVE)..=1e30, "from 1.2e-38 to 1e30")
}

//! Networks that would not fit: into memory with their batches, or into the 32 bits of a quantised sum.

use hardgrad::zeroth_order::MethodName;
use hardgrad_runtime::{Description, INPUT, NodeReport, Rule};

use super::sections::{LARGEST_SIDE, check_quantizers, check_rule, merged};
use super::{Config, ConfigError, FLOAT_BITS};

/// Largest number of values that one node gives for a batch: 8 GiB of float32.
const MAX_VALUES: u64 = 1 << 31;
/// Bits of what the data are made of.
const BYTE_BITS: u32 = 8;

/// Fails where the settings do not suit a network: it would not fit into memory with so many training images, a
/// quantised sum not into 32 bits, the rules ask a node for what cannot be, or a gradient method has no weight to
/// probe.
///
/// The sums are those of codes: of `products` products of `w` by `a` bits, `products 2^(w + a)` must stay below 2^31.
///
/// ```
/// use hardgrad_lab::config::{Config, limits};
///
/// let config = Config::default();
/// let network = hardgrad_lab::models::describe(&config.model, &[1, 28, 28], 10).unwrap();
/// limits::check(&network, &config, 60_000).unwrap();
/// let network = hardgrad_lab::models::describe(&config.model, &[1, 4097, 1], 10).unwrap();
/// let error = limits::check(&network, &config, 60_000).unwrap_err();
/// assert!(error.to_string().contains("at most 4096 pixels a side"));
/// ```
pub fn check(description: &Description, config: &Config, train_images: usize) -> Result<(), ConfigError> {
    if let [_, height, width] = description.input.shape[..]
        && height.max(width) > LARGEST_SIDE
    {
        let expected = format!("a set of images of at most {LARGEST_SIDE} pixels a side; set data.size");
        return Err(ConfigError::range("data.directory", expected, format!("{height} x {width}")));
    }
    let reports = description.check().map_err(|problem| ConfigError::Network { problem: problem.to_string() })?;
    check_memory(&reports, config, train_images)?;
    description.rules.iter().try_for_each(check_rule)?;
    let short = config.quantization.rules_for(description);
    let mut quantized = false;
    for (place, node) in description.nodes.iter().enumerate() {
        if !node.op.has_weights() {
            continue;
        }
        let rule = merged(short.iter().chain(&description.rules), &node.name);
        check_quantizers(&rule).map_err(|problem| ConfigError::In {
            source_name: format!("node {}", node.name),
            problem: Box::new(problem),
        })?;
        quantized |= rule.weight_bits.is_some_and(|bits| bits != FLOAT_BITS);
        check_sums(description, place, &reports[place], &rule)?;
    }
    if config.gradient.method != MethodName::StraightThrough && !quantized {
        return Err(ConfigError::NothingToProbe { method: config.gradient.method.name() });
    }
    Ok(())
}

fn check_memory(reports: &[NodeReport], config: &Config, train_images: usize) -> Result<(), ConfigError> {
    // Neither a batch nor a sample is larger than the set.
    let images = config.training.batch_size.max(config.quantization.calibration_images).min(train_images) as u64;
    let values = |report: &NodeReport| report.output.iter().fold(images, |all, &size| all.saturating_mul(size as u64));
    match reports.iter().find(|&report| values(report) > MAX_VALUES) {
        Some(report) => {
            let expected = format!(
                "smaller: node {} must give at most {MAX_VALUES} values a batch; lower its sizes, training.batch_size or \
                 quantization.calibration_images",
                report.name
            );
            Err(ConfigError::range("model", expected, values(report)))
        }
        None => Ok(()),
    }
}

/// Fails where a sum of products of codes can leave 32 bits.
fn check_sums(description: &Description, place: usize, report: &NodeReport, rule: &Rule) -> Result<(), ConfigError> {
    let weight_bits = rule.weight_bits.unwrap_or(FLOAT_BITS);
    let activation_bits =
        if reads_data(description, place) { BYTE_BITS } else { rule.activation_bits.unwrap_or(FLOAT_BITS) };
    if weight_bits == FLOAT_BITS || activation_bits == FLOAT_BITS {
        return Ok(());
    }
    // The first axis of a weight is that of the outputs; what is left of it makes one of them.
    let weight = report.tensors.iter().find(|tensor| tensor.name == "weight");
    let products = weight.map_or(0, |weight| weight.shape.iter().skip(1).map(|&size| size as u64).product::<u64>());
    if products << (weight_bits + activation_bits) < 1 << 31 {
        return Ok(());
    }
    let expected = format!(
        "smaller: {products} products of {weight_bits} by {activation_bits} bits in node {} can pass 2^31; use fewer bits or a \
         smaller layer",
        report.name
    );
    Err(ConfigError::range("model", expected, products))
}

/// Whether a node reads the data's bytes, behind nothing but nodes that pass codes on. Edges point backwards, which was
/// checked.
fn reads_data(description: &Description, place: usize) -> bool {
    let mut place = place;
    loop {
        let Some(source) = description.nodes[place].inputs.first() else { return false };
        if source == INPUT {
            return true;
        }
        let before = description.place(source);
        match before.filter(|&before| description.nodes[before].op.passes_codes()) {
            Some(before) => place = before,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    fn network(config: &Config, shape: &[usize]) -> Description {
        models::describe(&config.model, shape, 10).unwrap()
    }

    fn refused(config: &Config, shape: &[usize], train_images: usize) -> String {
        check(&network(config, shape), config, train_images).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_fit_and_what_does_not_is_named() {
        let config = Config::default();
        check(&network(&config, &[1, 28, 28]), &config, 60_000).unwrap();
        assert!(refused(&config, &[1, 4097, 1], 10).contains("data.directory must be a set of images of at most 4096"));
        let mut wide = config.clone();
        wide.model.conv_net.hidden = Vec::new();
        wide.training.batch_size = 65_536;
        let error = refused(&wide, &[1, 64, 64], 60_000);
        assert!(
            error.contains("model must be smaller: node conv1 must give at most 2147483648 values a batch"),
            "{error}"
        );
        check(&network(&wide, &[1, 64, 64]), &wide, 10_000).unwrap();
    }

    #[test]
    fn sums_that_leave_32_bits_are_named() {
        let mut config = Config::default();
        // 2^15 inputs of 8 bits by weights of 8 bits, the last layer's.
        config.model.preset = "mlp".to_string();
        config.model.mlp.hidden = Vec::new();
        check(&network(&config, &[32_767]), &config, 10).unwrap();
        let error = refused(&config, &[32_768], 10);
        let words = "model must be smaller: 32768 products of 8 by 8 bits in node output can pass 2^31";
        assert!(error.starts_with(words), "{error}");
        config.quantization.last_layer_bits = 32;
        check(&network(&config, &[32_768]), &config, 10).unwrap();
    }

    #[test]
    fn rules_are_looked_at_node_by_node() {
        let mut config = Config::default();
        let rule = Rule { nodes: "conv2".to_string(), weight_range: Some("pact".to_string()), ..Rule::all() };
        config.quantization.rules = vec![rule.clone()];
        let error = refused(&config, &[1, 28, 28], 10);
        assert!(error.starts_with("node conv2: quantization.weight_range"), "{error}");
        // Those of the description are the last word.
        let mut network = network(&config, &[1, 28, 28]);
        network.rules = vec![Rule { weight_range: Some("lsq".to_string()), ..rule }];
        check(&network, &config, 10).unwrap();
        network.rules[0].weight_bits = Some(9);
        assert!(check(&network, &config, 10).unwrap_err().to_string().contains("conv2"));
    }

    #[test]
    fn a_gradient_method_needs_quantised_weights() {
        let mut config = Config::default();
        config.quantization.rules = vec![Rule { weight_bits: Some(FLOAT_BITS), ..Rule::all() }];
        check(&network(&config, &[1, 28, 28]), &config, 10).unwrap();
        config.gradient.method = MethodName::Spsa;
        let found = check(&network(&config, &[1, 28, 28]), &config, 10).unwrap_err();
        assert_eq!(found, ConfigError::NothingToProbe { method: "spsa" });
    }
}

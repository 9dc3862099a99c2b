//! Which parts of a network are hard.

use serde::{Deserialize, Serialize};

/// How the nodes whose names fit a pattern are quantised; what is left out is as earlier rules say.
///
/// ```
/// use hardgrad_runtime::Rule;
///
/// let rule = Rule { nodes: "block*.conv1".to_string(), weight_bits: Some(2), ..Rule::all() };
/// assert!(rule.matches("block12.conv1") && !rule.matches("block12.conv2"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Names of nodes; `*` stands for any letters, also none.
    pub nodes: String,
    /// Bits of weights, 1 to 8; 32 for float32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bits: Option<u32>,
    /// Bits of what the nodes read, 1 to 8; 32 for float32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_bits: Option<u32>,
    /// Range method of weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_range: Option<String>,
    /// Range method of what the nodes read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_range: Option<String>,
    /// One scale for each output channel of a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_channel: Option<bool>,
    /// A zero point; only for ranges that are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_point: Option<bool>,
    /// The scale of the range method `fixed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_scale: Option<f64>,
}

impl Rule {
    /// A rule for all nodes that says nothing yet.
    pub fn all() -> Self {
        Self { nodes: "*".to_string(), ..Self::default() }
    }

    /// Whether it is for a node of this name.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.nodes.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(place) = rest.find(part) else { return false };
            rest = &rest[place + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        let matches = |nodes: &str, name: &str| Rule { nodes: nodes.to_string(), ..Rule::all() }.matches(name);
        for (nodes, name) in [("*", "a"), ("a", "a"), ("a*", "a"), ("*a*", "bab"), ("a*b*c", "axbyc"), ("a*a", "aba")] {
            assert!(matches(nodes, name), "{nodes} is for {name}");
        }
        for (nodes, name) in [("a", "ab"), ("a*a", "a"), ("", "a"), ("*b", "ba"), ("a*b*c", "acb")] {
            assert!(!matches(nodes, name), "{nodes} is not for {name}");
        }
    }
}

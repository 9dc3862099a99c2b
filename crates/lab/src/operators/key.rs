use std::collections::BTreeMap;

use hardgrad::Surrogate;
use serde::Serialize;

use super::OperatorError;

/// A key of an operator, as in `--set bits=4`: what both the reader of calls and the list of operators know about it.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value where none is given.
    pub default: Option<String>,
    /// What a value must be.
    pub expected: String,
    /// The allowed words; none where a value is a number or a list.
    pub words: Vec<&'static str>,
    /// A key and the word of it with which alone this key does something.
    pub only_with: Option<[&'static str; 2]>,
    #[serde(skip)]
    valid: fn(f64) -> bool,
}

/// The keys that are in use in a call, each with its value if it has one.
pub(super) type Values = BTreeMap<&'static str, (Key, Option<String>)>;

impl Key {
    /// A finite number for which `valid` holds, which `expected` says in words.
    pub(super) fn number(name: &'static str, expected: &str, valid: fn(f64) -> bool) -> Self {
        Self { name, default: None, expected: expected.to_string(), words: Vec::new(), only_with: None, valid }
    }

    /// Any finite number.
    pub(super) fn finite(name: &'static str) -> Self {
        Self::number(name, "a finite number", |_| true)
    }

    /// A number above 0.
    pub(super) fn positive(name: &'static str) -> Self {
        Self::number(name, "a number above 0", |value| value > 0.0)
    }

    /// Bits of a code.
    pub(super) fn bits() -> Self {
        Self::number("bits", "a whole number from 1 to 24", |bits| (1.0..=24.0).contains(&bits))
    }

    /// The axis along which scales differ.
    pub(super) fn axis() -> Self {
        Self::number("axis", "an axis of x, counted from 0; where scale has a value for each of its indices", |_| true)
    }

    /// A text that the operator reads itself.
    pub(super) fn text(name: &'static str, expected: &str) -> Self {
        Self::number(name, expected, |_| true)
    }

    /// One of these words, the first one unless it is given.
    pub(super) fn word(name: &'static str, words: impl IntoIterator<Item = &'static str>) -> Self {
        let words: Vec<&'static str> = words.into_iter().collect();
        let expected = match words.as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            words => words.concat(),
        };
        let default = words.first().map(ToString::to_string);
        Self { default, words, ..Self::text(name, &expected) }
    }

    /// True or false.
    pub(super) fn flag(name: &'static str, default: bool) -> Self {
        Self::word(name, ["true", "false"]).or(&default.to_string())
    }

    /// `surrogate`, and the sharpness of each surrogate that has one.
    pub(super) fn surrogate() -> Vec<Self> {
        let mut keys = vec![Self::word("surrogate", Surrogate::ALL.iter().map(|surrogate| surrogate.name()))];
        for surrogate in Surrogate::ALL {
            let Some(sharpness) = surrogate.sharpness() else { continue };
            let key = Self { only_with: Some(["surrogate", surrogate.name()]), ..Self::positive(sharpness.key) };
            keys.push(if sharpness.assumed { key.or(&sharpness.value.to_string()) } else { key });
        }
        keys
    }

    /// The same key with a default.
    pub(super) fn or(self, default: &str) -> Self {
        Self { default: Some(default.to_string()), ..self }
    }

    /// The same key, of whose values more is expected.
    pub(super) fn expecting(self, expected: &str) -> Self {
        Self { expected: expected.to_string(), ..self }
    }

    /// Whether a number can be its value.
    pub(super) fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.valid)(value)
    }
}

/// Reads `key=value` pairs for an operator with these keys.
///
/// # Errors
/// If a key is unknown, given twice or does nothing with the others, or a word is not one of the allowed ones.
pub(super) fn read(operator: &'static str, keys: &[Key], pairs: &[String]) -> Result<Values, OperatorError> {
    let mut given: BTreeMap<&'static str, String> = BTreeMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or_else(|| OperatorError::NotAPair { pair: pair.clone() })?;
        let (name, value) = (name.trim(), value.trim());
        let key = keys.iter().find(|key| key.name == name).ok_or_else(|| OperatorError::UnknownKey {
            operator,
            key: name.to_string(),
            known: match keys {
                [] => "it has none".to_string(),
                keys => format!("expected one of: {}", names(keys.iter())),
            },
        })?;
        if !(key.words.is_empty() || key.words.contains(&value)) {
            let (expected, found) = (key.expected.clone(), value.to_string());
            return Err(OperatorError::Value { operator, key: name.to_string(), expected, found });
        }
        if given.insert(key.name, value.to_string()).is_some() {
            return Err(OperatorError::GivenTwice { operator, key: key.name });
        }
    }
    let value = |key: &Key| given.get(key.name).or(key.default.as_ref()).cloned();
    let word = |name: &str| keys.iter().find(|key| key.name == name).and_then(value).unwrap_or_default();
    let in_use = |key: &&Key| key.only_with.is_none_or(|[other, wanted]| word(other) == wanted);
    let values: Values = keys.iter().filter(in_use).map(|key| (key.name, (key.clone(), value(key)))).collect();
    let useless = keys.iter().find(|key| given.contains_key(key.name) && !values.contains_key(key.name));
    if let Some((key, [other, _])) = useless.and_then(|key| Some((key, key.only_with?))) {
        let of_other = |key: &&Key| key.only_with.is_some_and(|[with, _]| with == other);
        let theirs = match names(values.values().map(|(key, _)| key).filter(of_other)) {
            theirs if theirs.is_empty() => "none".to_string(),
            theirs => theirs,
        };
        let with = format!("{other}={}, which takes {theirs}", word(other));
        return Err(OperatorError::UselessKey { operator, key: key.name, with });
    }
    Ok(values)
}

/// The names of keys with commas, each once: surrogates may share one.
fn names<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut names: Vec<&str> = Vec::new();
    keys.for_each(|key| {
        if !names.contains(&key.name) {
            names.push(key.name);
        }
    });
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(keys: &[Key], pairs: &[&str]) -> String {
        let pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
        read("sign", keys, &pairs).unwrap_err().to_string()
    }

    #[test]
    fn only_the_keys_of_the_chosen_surrogate_are_in_use() {
        let keys = Key::surrogate();
        for surrogate in Surrogate::ALL {
            let values = read("sign", &keys, &[format!("surrogate={}", surrogate.name())]).unwrap();
            let expected: Vec<&str> =
                surrogate.sharpness().map(|sharpness| sharpness.key).into_iter().chain(["surrogate"]).collect();
            let mut found: Vec<&str> = values.into_keys().collect();
            found.sort_by_key(|name| *name == "surrogate");
            assert_eq!(found, expected);
        }
        assert_eq!(
            message(&keys, &["surrogate=tanh", "beta=3"]),
            "sign: key beta does nothing with surrogate=tanh, which takes none; leave it out"
        );
        assert_eq!(
            message(&keys, &["beta=5", "t=2", "surrogate=ede"]),
            "sign: key beta does nothing with surrogate=ede, which takes t; leave it out"
        );
        assert_eq!(
            message(&keys, &["t=1"]),
            "sign: key t does nothing with surrogate=identity, which takes none; leave it out"
        );
        assert!(
            message(&keys, &["beta=1", "surrogate=wavy"]).starts_with("sign: surrogate must be identity, clipped, ")
        );
    }

    #[test]
    fn words_and_pairs_are_checked() {
        let keys = [Key::flag("signed", true), Key::bits()];
        assert_eq!(message(&keys, &["signed=yes"]), "sign: signed must be true or false, got \"yes\"");
        assert_eq!(message(&keys, &["bits"]), "--set bits: expected key=value, such as bits=4");
        assert_eq!(message(&keys, &["bitz=1"]), "sign: unknown key bitz; expected one of: signed, bits");
        assert_eq!(message(&keys, &["bits=1", "bits=2"]), "sign: key bits is given twice; give it once");
        let values = read("sign", &keys, &[]).unwrap();
        assert_eq!((values["signed"].1.as_deref(), values["bits"].1.as_deref()), (Some("true"), None));
    }

    #[test]
    fn several_words_are_told_apart() {
        assert_eq!(Key::word("rule", ["a", "b", "c"]).expected, "a, b or c");
        assert_eq!(Key::word("rule", ["a"]).expected, "a");
    }
}

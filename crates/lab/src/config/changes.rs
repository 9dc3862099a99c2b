//! Settings changed by tables and by `key=value` pairs: nothing but known keys, each with a value of its type.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;

/// The keys that there are, for errors.
pub(crate) struct Keys {
    /// All of them, one of which a misspelt one may have meant.
    pub all: Vec<String>,
    /// The verb that prints them.
    pub show: String,
}

/// The settings after those of `given`.
pub(crate) fn changed<T: Serialize + DeserializeOwned>(
    settings: &T,
    given: Table,
    source_name: &str,
    keys: &Keys,
) -> Result<T, ConfigError> {
    let mut table = Table::try_from(settings).expect("settings hold only what TOML can");
    merge(&mut table, given, "", source_name, keys)?;
    table.try_into().map_err(|error: toml::de::Error| ConfigError::Syntax {
        source_name: source_name.to_string(),
        // With the key, which `message` leaves out.
        problem: one_line(error.to_string().trim()),
    })
}

/// Every key of the settings with its sections, such as `training.batch_size`.
pub(crate) fn keys<T: Serialize>(settings: &T) -> Vec<String> {
    fn collect(table: &Table, path: &str, keys: &mut Vec<String>) {
        for (name, value) in table {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Table(section) => collect(section, &key, keys),
                _ => keys.push(key),
            }
        }
    }
    let mut keys = Vec::new();
    collect(&Table::try_from(settings).expect("settings hold only what TOML can"), "", &mut keys);
    keys
}

/// The first key whose value differs between two settings.
pub(crate) fn first_difference<T: Serialize>(ours: &T, theirs: &T) -> Option<String> {
    let table = |settings: &T| Table::try_from(settings).expect("settings hold only what TOML can");
    let (a, b) = (table(ours), table(theirs));
    let value = |table: &Table, key: &str| {
        let mut parts = key.split('.');
        let first = table.get(parts.next()?)?;
        parts.try_fold(first.clone(), |value, part| value.get(part).cloned())
    };
    keys(ours).into_iter().find(|key| value(&a, key) != value(&b, key))
}

/// The table that a change `key=value` stands for, and its name in errors; a value is TOML, or a string where it is
/// not.
pub(crate) fn parse(change: &str) -> Result<(Table, String), ConfigError> {
    let source_name = format!("--set {}", one_line(change));
    let Some((key, value)) = change.split_once('=') else {
        let problem = "expected key=value, such as seed=1 or training.batch_size=64".to_string();
        return Err(ConfigError::Syntax { source_name, problem });
    };
    let (key, value) = (key.trim(), value.trim());
    let value = format!("value = {value}")
        .parse::<Table>()
        .ok()
        // A value of several lines may hold other keys.
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .or_else(|| number(value).map(Value::Float))
        .unwrap_or_else(|| Value::String(value.to_string()));
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let inner = rest.map_or(value.clone(), |rest| {
        rest.rsplit('.').fold(value, |value, part| Value::Table(Table::from_iter([(part.to_string(), value)])))
    });
    Ok((Table::from_iter([(first.to_string(), inner)]), source_name))
}

/// A number that is none in TOML, which wants digits on both sides of the point: `.001`, `1.`
fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with(|first: char| first == '.' || first.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Puts `given` over `known`, which has every key that may be given.
fn merge(known: &mut Table, given: Table, path: &str, source_name: &str, keys: &Keys) -> Result<(), ConfigError> {
    for (name, value) in given {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(old) = known.get_mut(&name) else {
            let near = known.keys().map(|name| if path.is_empty() { name.clone() } else { format!("{path}.{name}") });
            let nearest = nearest(&key, near.chain(keys.all.iter().cloned()));
            let (show, source_name) = (keys.show.clone(), source_name.to_string());
            return Err(ConfigError::UnknownKey { show, source_name, key, nearest });
        };
        let wrong = |expected, found: &Value| ConfigError::Type {
            source_name: source_name.to_string(),
            key: key.clone(),
            expected,
            found: one_line(&found.to_string()),
        };
        match (old, value) {
            (Value::Table(old), Value::Table(value)) => merge(old, value, &key, source_name, keys)?,
            (Value::Table(_), value) => return Err(wrong("a section", &value)),
            (old @ Value::Float(_), Value::Integer(value)) => *old = Value::Float(value as f64),
            (old @ Value::Float(_), value @ Value::Float(_))
            | (old @ Value::Boolean(_), value @ Value::Boolean(_))
            | (old @ Value::String(_), value @ Value::String(_)) => *old = value,
            (old @ Value::Integer(_), Value::Integer(value)) if value >= 0 => *old = Value::Integer(value),
            (Value::Array(old), Value::Array(value)) => {
                let (kind, expected) = kind(old);
                let found = Value::Array(value.clone());
                *old = value.into_iter().map(kind).collect::<Option<_>>().ok_or_else(|| wrong(expected, &found))?;
            }
            (Value::Float(_), value) => return Err(wrong("a number", &value)),
            (Value::Integer(_), value) => return Err(wrong("a whole number of at least 0", &value)),
            (Value::Boolean(_), value) => return Err(wrong("true or false", &value)),
            (Value::String(_), value) => return Err(wrong("a string", &value)),
            (Value::Array(old), value) => return Err(wrong(kind(old).1, &value)),
            (_, value) => return Err(wrong("as it is in the defaults", &value)),
        }
    }
    Ok(())
}

/// What the items of a list become, and the words for such a list. Nothing is known of the items of an empty list until
/// the settings are made of the table.
fn kind(items: &[Value]) -> (fn(Value) -> Option<Value>, &'static str) {
    match items.first() {
        Some(Value::Float(_)) => {
            let number = |value: Value| match value {
                Value::Integer(value) => Some(Value::Float(value as f64)),
                value => Some(value).filter(Value::is_float),
            };
            (number, "a list of numbers")
        }
        Some(Value::String(_)) => (|value| Some(value).filter(Value::is_str), "a list of strings"),
        Some(Value::Table(_)) => (|value| Some(value).filter(Value::is_table), "a list of sections"),
        Some(_) => (|value| Some(value).filter(|v| v.as_integer().is_some_and(|v| v >= 0)), "a list of whole numbers"),
        None => (Some, "a list"),
    }
}

/// The known name most like `name`, if one is at all.
pub(crate) fn nearest(name: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_string();
    known
        .into_iter()
        .map(|known| {
            let likeness =
                |a: &str, b: &str| strsim::jaro_winkler(a, b).max(strsim::normalized_damerau_levenshtein(a, b));
            let whole = likeness(name, &known);
            (whole.max(likeness(&last(name), &last(&known))), whole, known)
        })
        .filter(|(best, ..)| *best > 0.65)
        // Of several keys of one name, the one whose sections are like those that were given, too.
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(.., known)| known)
}

pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

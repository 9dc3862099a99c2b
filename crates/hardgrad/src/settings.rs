//! Numbers that a method can be given behind its name, as in `gumbel_rao:samples=100`.

use thiserror::Error;

/// A number that a method takes.
#[derive(Debug)]
pub struct Setting {
    /// The word.
    pub key: &'static str,
    /// Its value when nothing is said.
    pub default: f64,
    /// What it must be, in words.
    pub expected: &'static str,
    /// Whether a value can be; it must also be after rounding to f32.
    pub valid: fn(f64) -> bool,
}

/// A setting that cannot be.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SettingError {
    /// The method has no such setting.
    #[error("unknown setting {key}; {known}")]
    Unknown {
        /// The word.
        key: String,
        /// The words that there are.
        known: String,
    },
    /// A setting that is there twice.
    #[error("{key} is set twice; leave one out")]
    Twice {
        /// The word.
        key: String,
    },
    /// A value out of range, or no number.
    #[error("{key} must be {expected}, got {found:?}")]
    Value {
        /// The word.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

/// The name of a description such as `gumbel_rao:samples=100`.
pub fn name(description: &str) -> &str {
    description.split(':').next().unwrap_or_default()
}

/// The values of `settings`, in their order, from what follows the name in `description`.
///
/// # Errors
/// If a setting is unknown or there twice, or a value out of range.
pub fn read(settings: &[Setting], description: &str) -> Result<Vec<f64>, SettingError> {
    let mut numbers: Vec<f64> = settings.iter().map(|setting| setting.default).collect();
    let mut given = vec![false; settings.len()];
    for part in description.split(':').skip(1) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let place = settings.iter().position(|setting| setting.key == key);
        let place = place.ok_or_else(|| SettingError::Unknown {
            key: key.to_string(),
            known: match settings {
                [] => "it has none".to_string(),
                settings => {
                    format!("expected {}", settings.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", "))
                }
            },
        })?;
        let setting = &settings[place];
        if std::mem::replace(&mut given[place], true) {
            return Err(SettingError::Twice { key: key.to_string() });
        }
        numbers[place] = value
            .parse()
            .ok()
            .filter(|number| (setting.valid)(*number) && (setting.valid)(f64::from(*number as f32)))
            .ok_or_else(|| SettingError::Value {
                key: key.to_string(),
                expected: setting.expected,
                found: value.to_string(),
            })?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [Setting; 1] =
        [Setting { key: "gap", default: 1.0, expected: "above 0", valid: |value| value > 0.0 }];

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!(read(&SETTINGS, "method"), Ok(vec![1.0]));
        assert_eq!(read(&SETTINGS, "method:gap=2.5"), Ok(vec![2.5]));
    }

    #[test]
    fn errors_name_the_setting() {
        let message = |text| read(&SETTINGS, text).unwrap_err().to_string();
        assert_eq!(message("method:gap=1:gap=2"), "gap is set twice; leave one out");
        assert_eq!(message("method:gap=-1"), "gap must be above 0, got \"-1\"");
        assert_eq!(message("method:gap=x"), "gap must be above 0, got \"x\"");
        assert_eq!(message("method:width=1"), "unknown setting width; expected gap");
    }
}

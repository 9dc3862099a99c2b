//! How sizes are written: pairs as one number where both are equal, real numbers as short as they can be read back, and
//! nothing that is as usual.

/// Sizes of height and width.
pub mod pair {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(usize),
        Two([usize; 2]),
    }

    pub fn serialize<S: Serializer>(pair: &[usize; 2], serializer: S) -> Result<S::Ok, S::Error> {
        if pair[0] == pair[1] { Written::One(pair[0]) } else { Written::Two(*pair) }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
        match Written::deserialize(deserializer) {
            Ok(Written::One(size)) => Ok([size; 2]),
            Ok(Written::Two(pair)) => Ok(pair),
            Err(_) => Err(D::Error::custom("a size of height and width must be one whole number, or a list of two")),
        }
    }
}

/// The same for a size that may be left out.
pub mod optional_pair {
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(pair: &Option<[usize; 2]>, serializer: S) -> Result<S::Ok, S::Error> {
        match pair {
            Some(pair) => super::pair::serialize(pair, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[usize; 2]>, D::Error> {
        super::pair::deserialize(deserializer).map(Some)
    }
}

/// Real numbers: 0.001 and not 0.0010000000474974513, which is the same `f32`.
pub mod real {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
        let exact = f64::from(*value);
        let short = value.to_string().parse().unwrap_or(exact);
        serializer.serialize_f64(if (short as f32).to_bits() == value.to_bits() { short } else { exact })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
        f32::deserialize(deserializer)
    }
}

pub fn ones() -> [usize; 2] {
    [1; 2]
}

pub fn is_ones(pair: &[usize; 2]) -> bool {
    *pair == [1; 2]
}

pub fn is_zeros(pair: &[usize; 2]) -> bool {
    *pair == [0; 2]
}

pub fn one() -> usize {
    1
}

pub fn is_one(size: &usize) -> bool {
    *size == 1
}

pub fn is_zero(size: &usize) -> bool {
    *size == 0
}

pub fn yes() -> bool {
    true
}

pub fn is_yes(switch: &bool) -> bool {
    *switch
}

pub fn is_no(switch: &bool) -> bool {
    !*switch
}

/// Added to a variance, unless said otherwise.
pub fn epsilon() -> f32 {
    1e-5
}

pub fn is_epsilon(value: &f32) -> bool {
    *value == epsilon()
}

/// Share of each batch in running statistics, unless said otherwise.
pub fn momentum() -> f32 {
    0.1
}

pub fn is_momentum(value: &f32) -> bool {
    *value == momentum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Real(#[serde(with = "real")] f32);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(#[serde(with = "pair")] [usize; 2]);

    #[test]
    fn numbers_are_written_as_people_write_them() {
        assert_eq!(serde_json::to_string(&Real(0.001)).unwrap(), "0.001");
        assert_eq!(serde_json::to_string(&Real(1e-12)).unwrap(), "1e-12");
        assert_eq!(serde_json::to_value(Pair([3, 3])).unwrap(), json!(3));
        assert_eq!(serde_json::to_value(Pair([3, 5])).unwrap(), json!([3, 5]));
        for other in [json!([3]), json!("3"), json!(-1), json!([1.5, 2])] {
            let error = serde_json::from_value::<Pair>(other).unwrap_err().to_string();
            assert!(error.starts_with("a size of height and width"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn real_numbers_come_back(value in prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO) {
            let text = serde_json::to_string(&Real(value)).unwrap();
            let Real(read) = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.to_bits(), value.to_bits(), "{}", text);
        }

        #[test]
        fn pairs_come_back(pair: [usize; 2], equal: bool) {
            let pair = Pair(if equal { [pair[0]; 2] } else { pair });
            let read: Pair = serde_json::from_value(serde_json::to_value(&pair).unwrap()).unwrap();
            prop_assert_eq!(read, pair);
        }
    }
}

//! One array of NumPy: a head in the form of a Python dictionary, then the values, the last axis running fastest.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 5 | 0x93 and `NUMPY` |
//! | 6, 7 | version: 1, 2 or 3, and 0 |
//! | 8 and on | length of the head: two bytes in version 1, else four, little-endian |
//! | then | `{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }` |

use std::io::Read;

/// How every array begins.
const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// Longest head that is read.
const LONGEST_HEAD: u32 = 1 << 16;

/// Values that are converted together.
const TOGETHER: usize = 1 << 13;

/// What is wrong with an array, and the mend.
type Problem = String;

/// What the values of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Unsigned,
    Signed,
    Float,
}

/// What the head of an array tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Bytes of a value.
    size: usize,
    is_big_endian: bool,
    pub(super) shape: Vec<usize>,
}

impl Head {
    /// Reads a head from the beginning of an array.
    pub(super) fn read(input: &mut impl Read) -> Result<Self, Problem> {
        let start: [u8; 8] = read_exactly(input)?;
        if start[..6] != MAGIC {
            return Err("is no array of NumPy; save the file with numpy.savez".to_string());
        }
        let length = match start[6] {
            1 => u32::from(u16::from_le_bytes(read_exactly(input)?)),
            2 | 3 => u32::from_le_bytes(read_exactly(input)?),
            version => return Err(format!("has version {version}, which is not known; save it with numpy.savez")),
        };
        if length > LONGEST_HEAD {
            return Err(format!("has a head of {length} bytes, the limit is {LONGEST_HEAD}; save it as a plain array"));
        }
        let mut text = Vec::new();
        input.take(length.into()).read_to_end(&mut text).map_err(|cause| damaged(&cause))?;
        if text.len() as u64 != u64::from(length) {
            return Err(cut_off());
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let unknown = || "has a head that is not understood; save it as a plain array of numbers".to_string();
        let order = value_of(text, "fortran_order").ok_or_else(unknown)?;
        let shape =
            value_of(text, "shape").and_then(|shape| shape.strip_prefix('(')?.split_once(')')).ok_or_else(unknown)?;
        let numbers = shape.0.split(',').map(str::trim).filter(|number| !number.is_empty());
        let shape = numbers.map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>().ok_or_else(unknown)?;
        if order.starts_with("True") && shape.len() > 1 {
            return Err("is stored in Fortran's order; save numpy.ascontiguousarray of it".to_string());
        }

        let descr = value_of(text, "descr").ok_or_else(unknown)?;
        let word = descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).map(|(word, _)| word);
        let other = || {
            let word = word.unwrap_or("several fields");
            format!("has values of the kind {word:?}; save it as uint8, float32 or another plain kind of numbers")
        };
        let plain = word.ok_or_else(other)?.trim_start_matches(['<', '>', '|', '=']);
        let (kind, size) = match plain {
            "b1" => (Kind::Bool, 1),
            "u1" => (Kind::Unsigned, 1),
            "u2" => (Kind::Unsigned, 2),
            "u4" => (Kind::Unsigned, 4),
            "u8" => (Kind::Unsigned, 8),
            "i1" => (Kind::Signed, 1),
            "i2" => (Kind::Signed, 2),
            "i4" => (Kind::Signed, 4),
            "i8" => (Kind::Signed, 8),
            "f4" => (Kind::Float, 4),
            "f8" => (Kind::Float, 8),
            _ => return Err(other()),
        };
        let is_big_endian = word.is_some_and(|word| word.starts_with('>'));
        Ok(Self { kind, size, is_big_endian, shape })
    }

    /// Reads the values behind the head and hands each of them on.
    pub(super) fn read_values(
        &self,
        input: &mut impl Read,
        mut take: impl FnMut(f64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let count = self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let mut left = count.ok_or_else(|| format!("has {:?} values, more than there can be", self.shape))?;
        let mut buffer = vec![0; TOGETHER * self.size];
        while left > 0 {
            let part = &mut buffer[..left.min(TOGETHER) * self.size];
            input.read_exact(part).map_err(|cause| damaged(&cause))?;
            for bytes in part.chunks_exact_mut(self.size) {
                if self.is_big_endian {
                    bytes.reverse();
                }
                take(self.value(bytes))?;
            }
            left -= part.len() / self.size;
        }
        // A read at the end checks the sum of the archive.
        match input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err("goes on after its values; save the file again".to_string()),
            Err(cause) => Err(damaged(&cause)),
        }
    }

    /// The value of little-endian bytes.
    fn value(&self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        match (self.kind, self.size) {
            (Kind::Float, 4) => f32::from_bits(bits as u32).into(),
            (Kind::Float, _) => f64::from_bits(bits),
            (Kind::Signed, size) => {
                // The sign goes to the highest bit and back.
                let unused = 64 - 8 * size as u32;
                ((bits << unused) as i64 >> unused) as f64
            }
            (Kind::Bool | Kind::Unsigned, _) => bits as f64,
        }
    }
}

/// What stands behind a key of a Python dictionary.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

fn read_exactly<const N: usize>(input: &mut impl Read) -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|cause| damaged(&cause))?;
    Ok(bytes)
}

fn damaged(cause: &std::io::Error) -> Problem {
    match cause.kind() {
        std::io::ErrorKind::UnexpectedEof => cut_off(),
        _ => format!("is damaged ({cause}); copy or save the file again").replace('\n', " "),
    }
}

fn cut_off() -> Problem {
    "ends before its values do; copy or save the file again".to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An array as NumPy writes it.
    pub(in super::super) fn npy(descr: &str, shape: &[usize], values: &[u8]) -> Vec<u8> {
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        // NumPy writes a comma after the only number of a shape.
        let comma = if shape.len() == 1 { "," } else { "" };
        let shape = shape.join(", ");
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}{comma}), }}\n");
        let length = (text.len() as u16).to_le_bytes();
        [&MAGIC[..], &[1, 0], &length, text.as_bytes(), values].concat()
    }

    fn values(file: &[u8]) -> Result<(Head, Vec<f64>), Problem> {
        let mut input = file;
        let head = Head::read(&mut input)?;
        let mut values = Vec::new();
        head.read_values(&mut input, |value| {
            values.push(value);
            Ok(())
        })?;
        Ok((head, values))
    }

    #[test]
    fn all_kinds_of_numbers_are_read() {
        let read = |descr: &str, bytes: &[u8]| values(&npy(descr, &[2], bytes)).unwrap().1;
        assert_eq!(read("|u1", &[0, 255]), [0.0, 255.0]);
        assert_eq!(read("|b1", &[0, 1]), [0.0, 1.0]);
        assert_eq!(read("|i1", &[255, 127]), [-1.0, 127.0]);
        assert_eq!(read("<u2", &[1, 2, 255, 255]), [513.0, 65_535.0]);
        assert_eq!(read(">u2", &[1, 2, 0, 7]), [258.0, 7.0]);
        assert_eq!(read("<i4", &[254, 255, 255, 255, 7, 0, 0, 0]), [-2.0, 7.0]);
        assert_eq!(read("<i8", &[(-3i64).to_le_bytes(), i64::MIN.to_le_bytes()].concat()), [-3.0, i64::MIN as f64]);
        assert_eq!(read("<f4", &[0.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()), [0.5, -2.0]);
        assert_eq!(read(">f8", &[0.1f64.to_be_bytes(), 3f64.to_be_bytes()].concat()), [0.1, 3.0]);
    }

    #[test]
    fn heads_of_every_version_and_any_length() {
        let file = npy("|u1", &[2, 3], &[1, 2, 3, 4, 5, 6]);
        let (head, read) = values(&file).unwrap();
        assert_eq!((&head.shape[..], read.len()), (&[2, 3][..], 6));
        let longer = [&MAGIC[..], &[2, 0], &file[8..10], &[0, 0], &file[10..]].concat();
        assert_eq!(values(&longer).unwrap(), (head, read));
        let many: Vec<u8> = (0..20_000u32).map(|value| value as u8).collect();
        let (_, read) = values(&npy("|u1", &[20_000], &many)).unwrap();
        assert!(read.iter().zip(&many).all(|(value, byte)| *value == f64::from(*byte)) && read.len() == 20_000);
        assert_eq!(values(&npy("<f8", &[0, 7], &[])).unwrap().1, Vec::<f64>::new());
        assert_eq!(values(&npy("|u1", &[], &[9])).unwrap().1, [9.0]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let refused = |file: &[u8]| values(file).unwrap_err();
        assert!(refused(b"text that is no array").contains("is no array of NumPy"));
        assert!(refused(b"\x93NUM").contains("ends before"));
        assert!(refused(b"\x93NUMPY\x09\0").contains("has version 9"));
        assert!(refused(b"\x93NUMPY\x02\0\0\0\0\x7f").contains("has a head of 2130706432 bytes"));
        assert!(refused(&npy("|u1", &[3], &[1, 2])).contains("ends before its values do"));
        assert!(refused(&npy("|u1", &[3], &[1, 2, 3, 4])).contains("goes on after its values"));
        assert!(refused(&npy("<f2", &[1], &[0, 0])).contains("values of the kind \"<f2\""));
        assert!(refused(&npy("|O", &[1], &[0])).contains("values of the kind \"|O\""));
        assert!(refused(&npy("|u1", &[usize::MAX, 2], &[])).contains("more than there can be"));
        let text = String::from_utf8_lossy(&npy("|u1", &[1, 1], &[0])[10..]).replace("False", "True");
        assert!(Head::parse(&text).unwrap_err().contains("Fortran"));
        let fields = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }";
        assert!(Head::parse(fields).unwrap_err().contains("several fields"));
        for text in [
            "",
            "{}",
            "{'descr': '|u1', 'fortran_order': False}",
            "{'descr': '|u1', 'fortran_order': False, 'shape': (1x,)}",
        ] {
            assert!(Head::parse(text).unwrap_err().contains("is not understood"), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn damage_never_panics(
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4),
            length in 0usize..100,
        ) {
            let mut file = npy("<i2", &[3, 1], &[1, 2, 3, 4, 5, 6]);
            for (position, mask) in flips {
                let position = position % file.len();
                file[position] ^= mask;
            }
            file.truncate(length);
            if let Ok((head, values)) = values(&file) {
                prop_assert_eq!(head.shape.iter().product::<usize>(), values.len());
            }
        }
    }
}

//! Codes of 1 to 8 bits, packed without gaps.
//!
//! Code i occupies the bits i * bits .. (i + 1) * bits of the stream, and bit j of the stream is bit j % 8 of byte j / 8
//! (little-endian). The bits after the last code are zero.

/// Bytes that `count` codes of `bits` bits occupy; never overflows for `bits` up to 8.
pub fn packed_len(count: usize, bits: u32) -> usize {
    let bits = bits as usize;
    count / 8 * bits + (count % 8 * bits).div_ceil(8)
}

/// Packs `codes`, each below 2^bits.
///
/// ```
/// use hardgrad_kernels::bit_packing::{pack, unpack};
/// let packed = pack(&[1, 2, 3], 4);
/// assert_eq!(packed, [0x21, 0x03]);
/// assert_eq!(unpack(&packed, 4, 3), Some(vec![1, 2, 3]));
/// ```
///
/// # Panics
/// If `bits` is not in 1..=8, or a code needs more bits.
pub fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    assert!((1..=8).contains(&bits), "codes have 1 to 8 bits, not {bits}");
    assert!(codes.iter().all(|&code| u32::from(code) < 1 << bits), "a code needs more than {bits} bits");
    let mut bytes = Vec::with_capacity(packed_len(codes.len(), bits));
    // Eight codes fill `bits` whole bytes.
    for eight in codes.chunks(8) {
        let word = eight.iter().rev().fold(0u64, |word, &code| word << bits | u64::from(code));
        bytes.extend_from_slice(&word.to_le_bytes()[..packed_len(eight.len(), bits)]);
    }
    bytes
}

/// The `count` codes of `bits` bits in `bytes`.
///
/// `None` if the length of `bytes` is not [`packed_len`] or a bit after the last code is not zero; nothing is allocated
/// before the length was compared.
///
/// # Panics
/// If `bits` is not in 1..=8.
pub fn unpack(bytes: &[u8], bits: u32, count: usize) -> Option<Vec<u8>> {
    assert!((1..=8).contains(&bits), "codes have 1 to 8 bits, not {bits}");
    if bytes.len() != packed_len(count, bits) {
        return None;
    }
    let mask = ((1u32 << bits) - 1) as u8;
    let mut codes = vec![0; count];
    for (eight, bytes) in codes.chunks_mut(8).zip(bytes.chunks(bits as usize)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let mut word = u64::from_le_bytes(word);
        for code in eight {
            *code = word as u8 & mask;
            word >>= bits;
        }
        if word != 0 {
            return None;
        }
    }
    Some(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_comes_back_and_agrees_with_single_bits() {
        for bits in 1..=8 {
            for count in 0..40 {
                let codes: Vec<u8> = (0..count).map(|i| ((i * 73 + 41) % (1 << bits)) as u8).collect();
                let bytes = pack(&codes, bits);
                assert_eq!(bytes.len(), packed_len(codes.len(), bits));
                for (i, &code) in codes.iter().enumerate() {
                    for bit in 0..bits as usize {
                        let position = i * bits as usize + bit;
                        assert_eq!(bytes[position / 8] >> (position % 8) & 1, code >> bit & 1);
                    }
                }
                assert_eq!(unpack(&bytes, bits, codes.len()), Some(codes));
            }
        }
    }

    #[test]
    fn a_wrong_length_or_a_bit_after_the_end_is_refused() {
        assert_eq!(unpack(&[0xff], 3, 2), None);
        assert_eq!(unpack(&[0x3f], 3, 2), Some(vec![7, 7]));
        assert_eq!(unpack(&[0x3f, 0], 3, 2), None);
        assert_eq!(unpack(&[], 3, 2), None);
        assert_eq!(unpack(&[1, 2, 3], 8, usize::MAX), None);
    }

    #[test]
    fn the_length_of_any_count_can_be_computed() {
        assert_eq!(packed_len(usize::MAX, 8), usize::MAX);
        assert_eq!(packed_len(usize::MAX, 1), usize::MAX / 8 + 1);
    }
}

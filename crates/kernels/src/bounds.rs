//! The numbers that quantised values may take.

/// The whole numbers that a quantised value may take, as multiples of its scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The lowest.
    pub lowest: f32,
    /// The highest.
    pub highest: f32,
}

impl Bounds {
    /// -2^(bits-1) to 2^(bits-1) - 1.
    pub fn signed(bits: u32) -> Self {
        let half = (1u64 << (bits - 1)) as f32;
        Self { lowest: -half, highest: half - 1.0 }
    }

    /// 0 to 2^bits - 1.
    pub fn unsigned(bits: u32) -> Self {
        Self { lowest: 0.0, highest: ((1u64 << bits) - 1) as f32 }
    }
}

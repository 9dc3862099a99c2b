use hardgrad_kernels::bounds::Bounds;

/// The whole numbers that the codes of a quantiser mean, before a zero point shifts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The lowest.
    pub qmin: i32,
    /// The highest.
    pub qmax: i32,
    /// Distance between neighbouring ones: 1, or 2 for the two signs of 1 bit.
    pub spacing: i32,
}

impl Levels {
    /// The levels of `bits` from 1 to 8.
    ///
    /// ```text
    /// signed:    -2^(bits-1) (narrow: one more) to 2^(bits-1) - 1; 1 bit: -1 and +1
    /// unsigned:  0 to 2^bits - 1
    /// ```
    /// A signed bit whose codes were -1 and 0 would lose the sign of half the values.
    pub fn new(bits: u32, signed: bool, narrow: bool) -> Self {
        let count = 1i32 << bits;
        match (signed, bits) {
            (true, 1) => Self { qmin: -1, qmax: 1, spacing: 2 },
            (true, _) => Self { qmin: -count / 2 + i32::from(narrow), qmax: count / 2 - 1, spacing: 1 },
            (false, _) => Self { qmin: 0, qmax: count - 1, spacing: 1 },
        }
    }

    /// The highest minus the lowest.
    pub fn span(&self) -> i32 {
        self.qmax - self.qmin
    }
}

impl From<Levels> for Bounds {
    fn from(levels: Levels) -> Self {
        Self { lowest: levels.qmin as f32, highest: levels.qmax as f32 }
    }
}

/// How a value becomes a whole number before it is rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToCode {
    /// round(x / scale).
    Divide,
    /// round(x factor): DoReFa's rule, whose scale is 1/factor.
    Multiply(f32),
}

/// The values that a quantised tensor can take: scale times a whole number.
///
/// ```text
/// value = scale[c] whole        whole = lowest[c], lowest[c] + spacing, ..., lowest[c] + span
/// ```
/// With a zero point z and levels from qmin, `lowest` = qmin - z. `scale` and `lowest` hold one value, or one a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Bits that a code needs.
    pub bits: u32,
    /// Lowest whole number.
    pub lowest: Vec<i32>,
    /// Highest whole number minus the lowest.
    pub span: i32,
    /// Distance between neighbouring whole numbers: 1, or 2 where only every second is used (signs, DoReFa weights).
    pub spacing: i32,
    /// Real value of 1, above 0.
    pub scale: Vec<f32>,
    /// How values get onto the grid.
    pub to_code: ToCode,
}

impl Grid {
    /// A grid of these levels, shifted by a zero point.
    pub(crate) fn new(bits: u32, levels: Levels, zero_point: i32, scale: Vec<f32>) -> Self {
        let lowest = vec![levels.qmin - zero_point];
        Self { bits, lowest, span: levels.span(), spacing: levels.spacing, scale, to_code: ToCode::Divide }
    }

    /// The largest absolute whole number.
    pub fn largest(&self) -> i32 {
        self.lowest.iter().map(|lowest| lowest.abs().max((lowest + self.span).abs())).max().unwrap_or(0)
    }

    /// Whether a value lies beyond the ends of the grid: by half a step and more, or beyond the two signs at all.
    pub(crate) fn is_beyond(&self, value: f32, channel: usize) -> bool {
        let lowest = self.lowest[channel.min(self.lowest.len() - 1)];
        let exact = match self.to_code {
            ToCode::Divide => value / self.scale[channel.min(self.scale.len() - 1)],
            ToCode::Multiply(factor) => value * factor,
        };
        let whole = if self.spacing == 1 { exact.round_ties_even() } else { exact };
        whole < lowest as f32 || whole > (lowest + self.span) as f32
    }
}

use hardgrad_kernels::fake_quant::Bounds;

/// The lowest and highest code of a quantiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Lowest code.
    pub qmin: i32,
    /// Highest code.
    pub qmax: i32,
}

impl Levels {
    /// -2^(bits-1) (narrow: one more) to 2^(bits-1) - 1 if signed, 0 to 2^bits - 1 if not; `bits` 1 to 8.
    pub fn new(bits: u32, signed: bool, narrow: bool) -> Self {
        let count = 1i32 << bits;
        match signed {
            true => Self { qmin: -count / 2 + i32::from(narrow), qmax: count / 2 - 1 },
            false => Self { qmin: 0, qmax: count - 1 },
        }
    }

    /// Number of steps between the lowest and the highest code.
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
/// With a zero point z and codes from qmin, `lowest` = qmin - z. `scale` and `lowest` hold one value, or one a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Bits that a code needs.
    pub bits: u32,
    /// Lowest whole number.
    pub lowest: Vec<i32>,
    /// Highest whole number minus the lowest.
    pub span: i32,
    /// Distance between neighbouring whole numbers: 1, or 2 where only every second is used (DoReFa weights).
    pub spacing: i32,
    /// Real value of 1, above 0.
    pub scale: Vec<f32>,
    /// How values get onto the grid.
    pub to_code: ToCode,
}

impl Grid {
    /// A grid of all whole numbers between `levels`, shifted by a zero point.
    pub(crate) fn new(bits: u32, levels: Levels, zero_point: i32, scale: Vec<f32>) -> Self {
        let (lowest, span) = (vec![levels.qmin - zero_point], levels.span());
        Self { bits, lowest, span, spacing: 1, scale, to_code: ToCode::Divide }
    }

    /// The largest absolute whole number.
    pub fn largest(&self) -> i32 {
        self.lowest.iter().map(|lowest| lowest.abs().max((lowest + self.span).abs())).max().unwrap_or(0)
    }
}

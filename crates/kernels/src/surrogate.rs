//! What the backward pass differentiates instead of a hard function.

use crate::math::{sigmoid, square_of_sech, tanh};

/// A smooth stand-in for a hard function of one variable, by the name that configs and reports use.
///
/// The derivatives are those of the operator contract; [`Surrogate::value`] is the function they belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate {
    /// `identity`: value x, derivative 1.
    Identity,
    /// `clipped`: value clamp(x, -1, 1), derivative 1 where abs(x) <= 1, else 0.
    Clipped,
    /// `relu`: value max(x, 0), derivative 1 where x > 0, else 0.
    Relu,
    /// `approx_sign`: value 2x - sign(x) x^2 inside abs(x) <= 1, derivative 2 - 2 abs(x) there, else 0.
    ApproxSign,
    /// `tanh`: value tanh(x), derivative 1 - tanh(x)^2.
    Tanh,
    /// `swish_sign`: derivative beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x)).
    SwishSign {
        /// Sharpness; 5 in the paper.
        beta: f32,
    },
    /// `ede`: value k tanh(t x), derivative k t (1 - tanh(t x)^2), with k = max(1/t, 1).
    Ede {
        /// Sharpness, raised during training.
        t: f32,
    },
}

impl Surrogate {
    /// The names, in the order of the contract.
    pub const NAMES: [&str; 7] = ["identity", "clipped", "relu", "approx_sign", "tanh", "swish_sign", "ede"];

    /// The name that configs and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Clipped => "clipped",
            Self::Relu => "relu",
            Self::ApproxSign => "approx_sign",
            Self::Tanh => "tanh",
            Self::SwishSign { .. } => "swish_sign",
            Self::Ede { .. } => "ede",
        }
    }

    /// The function that the backward pass pretends the hard one to be.
    pub fn value(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Clipped => x.clamp(-1.0, 1.0),
            Self::Relu => x.max(0.0),
            Self::ApproxSign => {
                let x = x.clamp(-1.0, 1.0);
                2.0 * x - x.signum() * x * x
            }
            Self::Tanh => tanh(x),
            Self::SwishSign { beta } => {
                let z = beta * x;
                2.0 * sigmoid(z) * (1.0 + z * sigmoid(-z)) - 1.0
            }
            Self::Ede { t } => (1.0 / t).max(1.0) * tanh(t * x),
        }
    }

    /// The derivative of [`Surrogate::value`]; 0 where it is too small for a float.
    #[inline(always)]
    pub fn derivative(self, x: f32) -> f32 {
        let inside = |value: f32| if x.abs() <= 1.0 { value } else { 0.0 };
        match self {
            Self::Identity => 1.0,
            Self::Clipped => inside(1.0),
            Self::Relu => f32::from(x > 0.0),
            Self::ApproxSign => inside(2.0 - 2.0 * x.abs()),
            Self::Tanh => square_of_sech(x),
            Self::SwishSign { beta } => {
                // Beyond 1000 the derivative is 0 in any float, and no product may overflow on the way.
                let z = (beta * x).clamp(-1e3, 1e3);
                // 1 + cosh(z) = 2 cosh(z/2)^2; this form does not overflow.
                beta * (2.0 - z * tanh(z / 2.0)) * square_of_sech(z / 2.0) / 2.0
            }
            // k t = max(1/t, 1) t = max(1, t), which no t can overflow.
            Self::Ede { t } => t.max(1.0) * square_of_sech(t * x),
        }
    }
}

/// Runs `$body` with `$surrogate` known to the compiler: a loop in it chooses no formula at each value, and vectorises.
macro_rules! for_known {
    ($surrogate:ident, $body:expr) => {
        match $surrogate {
            Surrogate::Identity => for_known!($surrogate = Surrogate::Identity, $body),
            Surrogate::Clipped => for_known!($surrogate = Surrogate::Clipped, $body),
            Surrogate::Relu => for_known!($surrogate = Surrogate::Relu, $body),
            Surrogate::ApproxSign => for_known!($surrogate = Surrogate::ApproxSign, $body),
            Surrogate::Tanh => for_known!($surrogate = Surrogate::Tanh, $body),
            Surrogate::SwishSign { beta } => for_known!($surrogate = Surrogate::SwishSign { beta }, $body),
            Surrogate::Ede { t } => for_known!($surrogate = Surrogate::Ede { t }, $body),
        }
    };
    ($surrogate:ident = $known:expr, $body:expr) => {{
        let $surrogate = $known;
        $body
    }};
}
pub(crate) use for_known;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Surrogate; 7] = [
        Surrogate::Identity,
        Surrogate::Clipped,
        Surrogate::Relu,
        Surrogate::ApproxSign,
        Surrogate::Tanh,
        Surrogate::SwishSign { beta: 5.0 },
        Surrogate::Ede { t: 2.5 },
    ];

    #[test]
    fn derivatives_have_their_table_values() {
        let cases = [
            (Surrogate::Clipped, 1.0, 1.0),
            (Surrogate::Clipped, -1.001, 0.0),
            (Surrogate::Relu, 0.0, 0.0),
            (Surrogate::ApproxSign, -0.25, 1.5),
            (Surrogate::SwishSign { beta: 5.0 }, 0.0, 5.0),
            (Surrogate::SwishSign { beta: 5.0 }, 0.3, 5.0 * (2.0 - 1.5 * 0.75f32.tanh()) / (1.0 + 1.5f32.cosh())),
            (Surrogate::SwishSign { beta: 5.0 }, 1e4, 0.0),
            (Surrogate::SwishSign { beta: 5.0 }, 3e38, 0.0),
            (Surrogate::Ede { t: 0.5 }, 0.0, 1.0),
        ];
        for (surrogate, x, expected) in cases {
            let found = surrogate.derivative(x);
            assert!((found - expected).abs() < 1e-6, "{surrogate:?} at {x}: {found}");
        }
    }

    #[test]
    fn each_derivative_is_that_of_its_value() {
        for surrogate in ALL {
            for x in [-1.7f32, -0.8, -0.31, 0.12, 0.66, 1.4] {
                let h = 1e-3;
                let expected = (surrogate.value(x + h) - surrogate.value(x - h)) / (2.0 * h);
                let found = surrogate.derivative(x);
                assert!((found - expected).abs() < 2e-3, "{surrogate:?} at {x}: {found}, differences give {expected}");
            }
        }
    }

    #[test]
    fn each_surrogate_is_known_as_itself() {
        for surrogate in ALL {
            assert_eq!(for_known!(surrogate, surrogate), surrogate);
        }
    }

    #[test]
    fn names_are_the_listed_ones() {
        assert!(ALL.iter().map(|surrogate| surrogate.name()).eq(Surrogate::NAMES));
    }
}

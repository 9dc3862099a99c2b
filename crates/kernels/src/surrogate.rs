//! What the backward pass differentiates instead of a hard function: one table of all surrogates.

use crate::math::{square_of_sech, tanh};

/// The number that some surrogates take; finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharpness {
    /// Its key in configs and reports.
    pub key: &'static str,
    /// Its value.
    pub value: f32,
    /// Whether the usual value is taken where none is given; otherwise `hardgrad op` wants one.
    pub assumed: bool,
}

/// Makes [`Surrogate`], and all that must know every surrogate, out of one table of the surrogates.
///
/// Each entry is the documentation, the variant, in braces the key of its sharpness if it has one (with the usual value, and
/// whether that is assumed), the name, the value in f64 and its derivative in f32. Both are functions of the `x` that stands above
/// the table, and of the sharpness by its key. The `$` lets the table write a macro.
macro_rules! surrogates {
    (
        ($dollar:tt $x:ident)
        $(
            $(#[$documentation:meta])*
            $variant:ident $({ $(#[$meaning:meta])* $key:ident = $usual:literal, assumed = $assumed:literal })?
            named $name:literal, value $value:expr, derivative $derivative:expr;
        )+
    ) => {
        /// A smooth stand-in for a hard function of one variable, by the name that configs and reports use.
        ///
        /// The derivatives are those of the operator contract; [`Surrogate::value`] is the function they belong to.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Surrogate {
            $($(#[$documentation])* $variant $({ $(#[$meaning])* $key: f32 })?,)+
        }

        impl Surrogate {
            /// One of each, with its usual sharpness, in the order of lists and reports.
            pub const ALL: &'static [Self] = &[$(Self::$variant $({ $key: $usual })?,)+];

            /// The name that configs and reports use.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }

            /// Its sharpness, if it has one.
            pub fn sharpness(self) -> Option<Sharpness> {
                match self {
                    $(Self::$variant $({ $key })? => {
                        optional!($(Sharpness { key: stringify!($key), value: $key, assumed: $assumed })?)
                    })+
                }
            }

            /// The same surrogate with another sharpness; itself if it has none.
            pub fn with_sharpness(self, sharpness: f32) -> Self {
                match self {
                    $(Self::$variant { .. } => Self::$variant $({ $key: sharpness })?,)+
                }
            }

            /// The function that the backward pass pretends the hard one to be.
            pub fn value(self, $x: f64) -> f64 {
                match self {
                    $(Self::$variant $({ $key })? => {
                        $(let $key = f64::from($key);)?
                        $value
                    })+
                }
            }

            /// The derivative of [`Surrogate::value`]; 0 where it is too small for a float.
            #[inline(always)]
            pub fn derivative(self, $x: f32) -> f32 {
                match self {
                    $(Self::$variant $({ $key })? => $derivative,)+
                }
            }
        }

        /// Runs `$body` with `$surrogate` known to the compiler: a loop in it chooses no formula at each value, and vectorises.
        macro_rules! for_known {
            ($dollar surrogate:ident, $dollar body:expr) => {
                match $dollar surrogate {
                    $(Surrogate::$variant $({ $key })? => {
                        let $dollar surrogate = Surrogate::$variant $({ $key })?;
                        $dollar body
                    })+
                }
            };
        }
    };
}

/// `Some` of what is there.
macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

surrogates! {
    ($ x)

    /// `identity`: value x, derivative 1.
    Identity named "identity", value x, derivative 1.0;

    /// `clipped`: value clamp(x, -1, 1), derivative 1 where abs(x) <= 1, else 0.
    Clipped named "clipped", value x.clamp(-1.0, 1.0), derivative inside(x, 1.0);

    /// `relu`: value max(x, 0), derivative 1 where x > 0, else 0.
    Relu named "relu", value x.max(0.0), derivative f32::from(x > 0.0);

    /// `approx_sign`: value 2x - sign(x) x^2 inside abs(x) <= 1, derivative 2 - 2 abs(x) there, else 0.
    ApproxSign
        named "approx_sign",
        value {
            let x = x.clamp(-1.0, 1.0);
            2.0 * x - x.signum() * x * x
        },
        derivative inside(x, 2.0 - 2.0 * x.abs());

    /// `tanh`: value tanh(x), derivative 1 - tanh(x)^2.
    Tanh named "tanh", value x.tanh(), derivative square_of_sech(x);

    /// `swish_sign`: value tanh(z/2) + (z/2)/cosh(z/2)^2 with z = beta x, derivative beta (2 - z tanh(z/2)) / (1 + cosh(z)).
    SwishSign {
        /// Sharpness; 5 in the paper.
        beta = 5.0, assumed = true
    }
        named "swish_sign",
        value {
            let half = beta * x / 2.0;
            half.tanh() + half / half.cosh().powi(2)
        },
        derivative {
            // Beyond 1000 the derivative is 0 in any float, and no product may overflow on the way.
            let z = (beta * x).clamp(-1e3, 1e3);
            // 1 + cosh(z) = 2 cosh(z/2)^2; this form does not overflow.
            beta * (2.0 - z * tanh(z / 2.0)) * square_of_sech(z / 2.0) / 2.0
        };

    /// `ede`: value k tanh(t x), derivative k t (1 - tanh(t x)^2), with k = max(1/t, 1).
    Ede {
        /// Sharpness, raised during training.
        t = 3.0, assumed = false
    }
        named "ede",
        value t.recip().max(1.0) * (t * x).tanh(),
        // k t = max(1/t, 1) t = max(1, t), which no t can overflow.
        derivative t.max(1.0) * square_of_sech(t * x);

    /// `arctan`: value atan(pi x)/pi, derivative 1 / (1 + (pi x)^2).
    Arctan
        named "arctan",
        value (std::f64::consts::PI * x).atan() / std::f64::consts::PI,
        derivative {
            let z = std::f32::consts::PI * x;
            1.0 / (1.0 + z * z)
        };
}
pub(crate) use for_known;

impl Surrogate {
    /// The surrogate of this name, with its usual sharpness.
    ///
    /// ```
    /// use hardgrad_kernels::surrogate::Surrogate;
    /// assert_eq!(Surrogate::by_name("swish_sign"), Some(Surrogate::SwishSign { beta: 5.0 }));
    /// assert_eq!(Surrogate::by_name("wavy"), None);
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|surrogate| surrogate.name() == name)
    }
}

/// `value` where abs(x) <= 1, else 0.
#[inline(always)]
fn inside(x: f32, value: f32) -> f32 {
    if x.abs() <= 1.0 { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (Surrogate::Arctan, 0.0, 1.0),
            (Surrogate::Arctan, -std::f32::consts::FRAC_1_PI, 0.5),
            (Surrogate::Arctan, 3e38, 0.0),
        ];
        for (surrogate, x, expected) in cases {
            let found = surrogate.derivative(x);
            assert!((found - expected).abs() < 1e-6, "{surrogate:?} at {x}: {found}");
        }
    }

    #[test]
    fn each_derivative_is_that_of_its_value() {
        for surrogate in Surrogate::ALL {
            for x in [-1.7f32, -0.8, -0.31, 0.12, 0.66, 1.4] {
                let (at, h) = (f64::from(x), 1e-6);
                let expected = (surrogate.value(at + h) - surrogate.value(at - h)) / (2.0 * h);
                let found = surrogate.derivative(x);
                let difference = (f64::from(found) - expected).abs();
                assert!(difference < 1e-5, "{surrogate:?} at {x}: {found}, differences give {expected}");
            }
        }
    }

    #[test]
    fn each_surrogate_is_known_as_itself() {
        for &surrogate in Surrogate::ALL {
            assert_eq!(Surrogate::by_name(surrogate.name()), Some(surrogate));
            assert_eq!(for_known!(surrogate, surrogate), surrogate);
        }
    }

    #[test]
    fn only_a_surrogate_with_a_sharpness_gets_another() {
        for &surrogate in Surrogate::ALL {
            let sharper = surrogate.with_sharpness(7.5);
            assert_eq!(sharper.name(), surrogate.name());
            match surrogate.sharpness() {
                Some(usual) => assert_eq!(sharper.sharpness(), Some(Sharpness { value: 7.5, ..usual })),
                None => assert_eq!(sharper, surrogate),
            }
        }
    }
}

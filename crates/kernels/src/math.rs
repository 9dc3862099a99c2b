//! Elementary functions that loops can vectorise: exp, ln, tanh, the logistic function, the normal distribution, and sine
//! and cosine of a turn.
//!
//! The functions of the standard library are calls, which keep a loop at one value at a time, and their last bit
//! differs between platforms. These have no branch and no call, so a `multiversion!` loop computes 8 or 16 at once, and
//! consist of single additions, multiplications and divisions, so every machine gives the same bytes.
//!
//! ```text
//! exp(x)  = 2^n exp(r)           n = round(x / ln 2), r = x - n ln 2, abs(r) <= ln(2)/2
//! ln(x)   = n ln 2 + ln(m)       x = m 2^n, sqrt(1/2) <= m < sqrt(2)
//! tanh(x) = sign(x) (1 - 2 / (exp(2 abs(x)) + 1)), near 0 an odd polynomial
//! Phi(-x) = exp(-x^2 / 2) t P(t)  t = 1 / (1 + 17/64 x), x >= 0
//! ```
//! Source of the polynomials: Moshier, Cephes mathematical library, single precision. That of Phi has the form of Hastings,
//! "Approximations for digital computers", 1955 (Abramowitz and Stegun 7.1.26), with coefficients of its own: those of the
//! least largest relative error for 0 <= x <= 14, which is 1.2e-8, so that it holds in the tail too.

/// ln 2 in two parts: the first has 10 significant bits, so that its product with any exponent is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// Adding it leaves a float no bits below 1, which rounds to the nearest whole number (`round_ties_even` is a call on
/// the baseline of x86-64).
const ROUNDER: f32 = 12_582_912.0;

/// 1 / sqrt(2 pi).
const INVERSE_SQRT_TAU: f32 = 0.398_942_3;

/// e^x, within 1 ulp: infinity above 88.72, gradually to 0 below -87.33.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Comparisons in this order keep a NaN.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN_2[0] - n * LN_2[1];
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let e = p * (r * r) + r + 1.0;
    // 2^n in two factors: n runs from -150 to 128, more than one factor can hold.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    e * power(half) * power(n.wrapping_sub(half))
}

/// The natural logarithm of a positive finite float, within 1 ulp also near 1.
///
/// 0 counts as 2^-150, whose logarithm is -104; every other argument gives a meaningless number, NaN too.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let small = x < f32::MIN_POSITIVE;
    let x = if small { x * (1 << 23) as f32 } else { x };
    // Subtracting the bits of sqrt(1/2) makes the exponent step at sqrt(1/2) and not at 1.
    let bits = (x.to_bits() as i32).wrapping_sub(SQRT_HALF_BITS);
    let n = (bits >> 23) as f32 - if small { 23.0 } else { 0.0 };
    let f = f32::from_bits(((bits & 0x007F_FFFF) + SQRT_HALF_BITS) as u32) - 1.0;
    let square = f * f;
    let mut p = 7.037_683_6e-2;
    p = p * f - 1.151_461e-1;
    p = p * f + 1.167_699_9e-1;
    p = p * f - 1.242_014_1e-1;
    p = p * f + 1.424_932_3e-1;
    p = p * f - 1.666_805_7e-1;
    p = p * f + 2.000_071_5e-1;
    p = p * f - 2.499_999_4e-1;
    p = p * f + 3.333_333e-1;
    let tail = f * square * p + n * LN_2[1] - 0.5 * square;
    (f + tail) + n * LN_2[0]
}

const SQRT_HALF_BITS: i32 = 0x3F35_04F3;

/// The hyperbolic tangent, within 2 ulp also near 0.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * square + 2.063_908_8e-2;
    p = p * square - 5.373_971_6e-2;
    p = p * square + 1.333_144_2e-1;
    p = p * square - 3.333_328e-1;
    let near = p * square * size + size;
    let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    (if size < 0.625 { near } else { far }).copysign(x)
}

/// 1 - tanh(x)^2 = 1/cosh(x)^2, within 5 ulp also where tanh(x) rounds to 1.
#[inline(always)]
pub fn square_of_sech(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

/// The logistic function 1 / (1 + e^-x), within 3 ulp.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// Phi(x) and phi(x): the standard normal distribution function (1 + erf(x / sqrt(2))) / 2 and its density.
///
/// Phi is within 4 ulp above 0 and within 8 + x^2 / 2 below, where the exponential multiplies the rounding of x^2; its
/// absolute error is below 3e-7 everywhere.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    let t = 1.0 / (1.0 + 0.265_625 * x.abs());
    let mut p = 3.066_987_4e-2;
    p = p * t - 1.423_109_6e-1;
    p = p * t + 2.121_564_6e-1;
    p = p * t - 1.106_255_6e-1;
    p = p * t + 1.341_914_8e-1;
    p = p * t + 6.181_942e-2;
    p = p * t + 1.025_735_66e-1;
    p = p * t + 1.055_370_05e-1;
    p = p * t + 1.059_887e-1;
    let e = exp(-0.5 * x * x);
    let tail = e * t * p;
    (if x > 0.0 { 1.0 - tail } else { tail }, e * INVERSE_SQRT_TAU)
}

/// Sine and cosine of 2 pi `turn` for a turn between 0 and 1, with an absolute error below 1e-7.
#[inline(always)]
pub fn sin_cos_of_turn(turn: f32) -> (f32, f32) {
    let rounded = 4.0 * turn + ROUNDER;
    let angle = std::f32::consts::TAU * (turn - 0.25 * (rounded - ROUNDER));
    let square = angle * angle;
    let mut p = -1.951_529_6e-4;
    p = p * square + 8.332_161e-3;
    p = p * square - 1.666_665_5e-1;
    let sine = p * square * angle + angle;
    let mut p = 2.443_315_7e-5;
    p = p * square - 1.388_731_6e-3;
    p = p * square + 4.166_664_6e-2;
    let cosine = p * square * square - 0.5 * square + 1.0;
    // Quarter turns swap the two and change signs; the lowest bits of `rounded` count them.
    let quarter = rounded.to_bits();
    let (s, c) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let signed = |value: f32, negative: u32| f32::from_bits(value.to_bits() ^ ((negative & 2) << 30));
    (signed(s, quarter), signed(c, quarter.wrapping_add(1)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Phi(x) by its power series near 0 and its continued fraction in the tails.
    pub(crate) fn exact_normal_cdf(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        if x.abs() < 3.0 {
            let terms = (1..100).scan(x, |term, k| Some(std::mem::replace(term, *term * x * x / f64::from(2 * k + 1))));
            return 0.5 + density * terms.sum::<f64>();
        }
        let tail = density / (1..200).rev().fold(x.abs(), |fraction, k| x.abs() + f64::from(k) / fraction);
        if x > 0.0 { 1.0 - tail } else { tail }
    }

    /// Distance of `found` from `exact` in units of the last place of a float of that size.
    fn ulps(found: f32, exact: f64) -> f64 {
        let size = (exact.abs() as f32).max(f32::MIN_POSITIVE);
        (f64::from(found) - exact).abs() / f64::from(size.next_up() - size)
    }

    /// The largest distance in ulps over every `step`-th float from `low` to `high` of one sign.
    fn worst(low: f32, high: f32, step: u32, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let (first, last) = (low.to_bits().min(high.to_bits()), low.to_bits().max(high.to_bits()));
        let distance = |bits| ulps(f(f32::from_bits(bits)), exact(f64::from(f32::from_bits(bits))));
        (first..=last).step_by(step as usize).chain([last]).map(distance).fold(0.0, f64::max)
    }

    const TINY: f32 = f32::from_bits(1);

    #[test]
    fn exp_is_within_1_ulp_from_overflow_to_0() {
        assert!(worst(TINY, 88.722_83, 997, exp, f64::exp) < 1.0);
        assert!(worst(-TINY, -104.0, 997, exp, f64::exp) < 1.0);
        assert_eq!(
            [0.0, -0.0, 88.723, 1e30, f32::INFINITY].map(exp),
            [1.0, 1.0, f32::INFINITY, f32::INFINITY, f32::INFINITY]
        );
        assert_eq!([-104.0, -1e4, f32::MIN, f32::NEG_INFINITY].map(exp), [0.0; 4]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_within_1_ulp_for_every_size() {
        assert!(worst(TINY, f32::MAX, 997, ln, f64::ln) < 1.0);
        assert!(worst(0.99, 1.01, 1, ln, f64::ln) < 1.0);
        assert_eq!(ln(1.0), 0.0);
        assert!((ln(0.0) + 103.97).abs() < 0.01);
    }

    #[test]
    fn tanh_is_within_2_ulp_and_odd() {
        assert!(worst(TINY, 20.0, 997, tanh, f64::tanh) < 2.0);
        assert!(worst(0.5, 0.8, 1, tanh, f64::tanh) < 2.0);
        assert_eq!([0.0, 1e4, f32::INFINITY, -1e4].map(tanh), [0.0, 1.0, 1.0, -1.0]);
        assert_eq!(tanh(-0.3), -tanh(0.3));
        assert!(tanh(-0.0).is_sign_negative() && tanh(f32::NAN).is_nan());
    }

    #[test]
    fn the_logistic_function_keeps_its_precision_on_both_sides() {
        let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst(TINY, 100.0, 997, sigmoid, exact) < 3.0);
        assert!(worst(-TINY, -104.0, 997, sigmoid, exact) < 3.0);
        assert_eq!([0.0, 1e4, -1e4].map(sigmoid), [0.5, 1.0, 0.0]);
    }

    #[test]
    fn the_square_of_sech_does_not_cancel() {
        assert!(worst(TINY, 43.0, 97, square_of_sech, |x| x.cosh().powi(-2)) < 5.0);
        assert_eq!([0.0, 1e4, -1e4].map(square_of_sech), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_normal_distribution_keeps_its_precision_in_the_tail() {
        assert!((exact_normal_cdf(1.0) - 0.841_344_746_068_542_9).abs() < 1e-15);
        assert!((exact_normal_cdf(-4.0) - 3.167_124_183_311_992e-5).abs() < 1e-19);
        let cdf = |x| normal(x).0;
        assert!(worst(TINY, 20.0, 9973, cdf, exact_normal_cdf) < 4.0);
        assert!(worst(-TINY, -1.0, 9973, cdf, exact_normal_cdf) < 8.0);
        assert!(worst(-1.0, -5.0, 97, cdf, exact_normal_cdf) < 20.0);
        assert!(worst(-5.0, -13.0, 97, cdf, exact_normal_cdf) < 92.0);
        assert!(worst(TINY, 1.0, 9973, |x| normal(x).1, |x| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()) < 3.0);
        assert_eq!([1e4, 1e30, -1e4, -1e30].map(normal), [(1.0, 0.0), (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)]);
        assert!(normal(f32::NAN).0.is_nan());
    }

    #[test]
    fn sine_and_cosine_of_a_turn() {
        assert_eq!(sin_cos_of_turn(0.0), (0.0, 1.0));
        assert_eq!(sin_cos_of_turn(0.25), (1.0, -0.0));
        assert_eq!(sin_cos_of_turn(0.5), (-0.0, -1.0));
        for turn in (0..1 << 24).step_by(101).map(|k| k as f32 / (1 << 24) as f32) {
            let (sine, cosine) = sin_cos_of_turn(turn);
            let exact = (f64::from(turn) * std::f64::consts::TAU).sin_cos();
            let error = (f64::from(sine) - exact.0).abs().max((f64::from(cosine) - exact.1).abs());
            assert!(error < 1e-7, "{turn}: {error}");
        }
    }
}

//! Whole numbers from shares.
//!
//! Shares are decimals that no float holds exactly, so a product that should be whole comes out a bit beside it:
//! (1 - 0.8) 5 is 0.9999999999999998 and 0.07 100 is 7.000000000000001. A guard of 1e-9 makes up for that.

/// Above the rounding of a product for counts up to some millions, below the distance of one that is not meant to be whole.
const GUARD: f64 = 1e-9;

/// The whole part of `share` (from 0 to 1) of `count`.
///
/// ```
/// assert_eq!(hardgrad_kernels::counts::share_of(5, 1.0 - 0.8), 1);
/// ```
pub fn share_of(count: u64, share: f64) -> u64 {
    ((share * count as f64 + GUARD).floor() as u64).min(count)
}

/// `share` (from 0 to 1) of `count`, rounded up.
///
/// ```
/// assert_eq!(hardgrad_kernels::counts::share_of_rounded_up(100, 0.07), 7);
/// ```
pub fn share_of_rounded_up(count: u64, share: f64) -> u64 {
    ((share * count as f64 - GUARD).ceil() as u64).min(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_part_as_a_share_is_that_part(count in 1u64..1_000_000, part in any::<prop::sample::Index>()) {
            let part = part.index(count as usize + 1) as u64;
            let share = part as f64 / count as f64;
            prop_assert_eq!(share_of(count, share), part);
            prop_assert_eq!(share_of_rounded_up(count, share), part);
            prop_assert_eq!(share_of(count, 1.0 - share), count - part);
            prop_assert_eq!(share_of_rounded_up(count, 1.0 - share), count - part);
        }

        #[test]
        fn decimals_are_rounded_as_on_paper(count in 0u64..1_000_000, thousandths in 0u64..=1000) {
            let share: f64 = format!("{}.{:03}", thousandths / 1000, thousandths % 1000).parse().unwrap();
            prop_assert_eq!(share_of(count, share), count * thousandths / 1000);
            prop_assert_eq!(share_of_rounded_up(count, share), (count * thousandths).div_ceil(1000));
            let rest = 1000 - thousandths;
            prop_assert_eq!(share_of(count, 1.0 - share), count * rest / 1000);
        }
    }
}

//! Which inputs are held out.

use std::cmp::Ordering;

use hardgrad_kernels::random::Random;

/// Share of the data that is held out for testing where a set has no part for it.
pub(super) const TEST_SHARE: f64 = 0.2;

/// Classes that labels can name.
const CLASSES: usize = 256;

/// Chooses a share of the inputs of each class: true for those that are held out.
///
/// round(n share) of n inputs are chosen; of the n_c of class c either the whole part of n_c share or one more, the
/// classes with the largest rest coming first, and at least one input of each class is left. Which ones is random: a
/// function of the stream and the labels alone: whichever run looks at the data, what it holds out no other one has trained on.
pub(super) fn held_out(labels: &[u8], share: f64, stream: u32) -> Vec<bool> {
    let mut places = vec![Vec::new(); CLASSES];
    for (place, &label) in labels.iter().enumerate() {
        places[usize::from(label)].push(place);
    }
    let quota = |class: usize| places[class].len() as f64 * share;
    let most = |class: usize| places[class].len().saturating_sub(1);
    let mut counts: Vec<usize> = (0..CLASSES).map(|class| (quota(class) as usize).min(most(class))).collect();

    let mut order: Vec<usize> = (0..CLASSES).collect();
    let rest = |class: usize| quota(class).fract();
    order.sort_by(|&a, &b| rest(b).partial_cmp(&rest(a)).unwrap_or(Ordering::Equal));
    let mut missing = ((labels.len() as f64 * share).round() as usize).saturating_sub(counts.iter().sum());
    for class in order {
        if missing > 0 && rest(class) > 0.0 && counts[class] < most(class) {
            counts[class] += 1;
            missing -= 1;
        }
    }

    let mut held = vec![false; labels.len()];
    for (class, places) in places.iter().enumerate() {
        let order = Random::new(0, class as u32, stream).permutation(places.len());
        order.into_iter().take(counts[class]).for_each(|index| held[places[index as usize]] = true);
    }
    held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(labels: &[u8], held: &[bool], class: u8) -> [usize; 2] {
        let of_class = || labels.iter().zip(held).filter(|(label, _)| **label == class);
        [of_class().count(), of_class().filter(|(_, held)| **held).count()]
    }

    #[test]
    fn each_class_gives_its_share() {
        let labels: Vec<u8> = (0..100).map(|index| if index < 40 { 0 } else { 7 }).collect();
        let held = held_out(&labels, 0.1, 200);
        assert_eq!(counts(&labels, &held, 0), [40, 4]);
        assert_eq!(counts(&labels, &held, 7), [60, 6]);
        // The same ones for everybody, but for another stream.
        assert_eq!(held, held_out(&labels, 0.1, 200));
        assert_ne!(held, held_out(&labels, 0.1, 201));
    }

    #[test]
    fn small_classes_take_turns_and_keep_one() {
        // Ten classes of four: a tenth of all is four images, of the first four classes.
        let labels: Vec<u8> = (0..40).map(|index| index % 10).collect();
        let held = held_out(&labels, 0.1, 200);
        let given: Vec<usize> = (0..10).map(|class| counts(&labels, &held, class)[1]).collect();
        assert_eq!(given, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(held_out(&[0, 1, 2], 0.9, 200), [false; 3]);
        assert_eq!(held_out(&[], 0.5, 200), Vec::<bool>::new());
        assert_eq!(held_out(&[5; 10], 0.0, 200), [false; 10]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn shares_are_right_within_one(
            labels in prop::collection::vec(0u8..6, 0..200),
            share in 0.0..1.0,
        ) {
            let held = held_out(&labels, share, 200);
            let total = held.iter().filter(|held| **held).count();
            prop_assert!(total as f64 <= labels.len() as f64 * share + 0.5);
            for class in 0..6 {
                let [count, held] = counts(&labels, &held, class);
                prop_assert!(held < count || count == 0);
                prop_assert!((held as f64) < count as f64 * share + 1.0);
                prop_assert!(held as f64 + 1.0 > (count as f64 * share).min(count as f64 - 1.0));
            }
        }
    }
}

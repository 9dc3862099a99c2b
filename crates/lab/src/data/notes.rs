//! What is odd about a set: data that cannot teach, or on which accuracy misleads.

use std::collections::HashMap;

use super::{Dataset, Images};

/// Share of the images above which one class is said to dominate.
const DOMINANT: f64 = 0.9;

/// Names of classes that are shown of a long list.
const SHOWN: usize = 5;

impl Dataset {
    /// How many images of each class there are to train on, with those split off for validation, and to test on, the
    /// label being the index.
    pub fn class_counts(&self) -> Vec<[usize; 2]> {
        let mut counts = vec![[0; 2]; self.class_names.len()];
        for (part, images) in [(0, &self.train), (0, &self.validation), (1, &self.test)] {
            images.labels.iter().for_each(|&label| counts[usize::from(label)][part] += 1);
        }
        counts
    }

    /// What cannot teach a network or makes its accuracy mislead, a line each; none for most sets.
    pub fn notes(&self) -> Vec<String> {
        let counts = self.class_counts();
        let mut notes: Vec<String> = self.altered.iter().chain(&self.remarks).cloned().collect();
        notes.extend(self.grey_in_colour());
        notes.extend(self.single_class(&counts));
        notes.extend(self.fewer_images_than_classes());
        notes.extend(self.classes_without_images(&counts));
        notes.extend(self.dominant_classes(&counts));
        notes.extend(self.equal_images());
        notes.extend(self.repeated_images());
        notes
    }

    /// Images to train on, with those split off for validation.
    fn training_images(&self) -> usize {
        self.train.len() + self.validation.len()
    }

    fn grey_in_colour(&self) -> Option<String> {
        let &[3, height, width] = self.train.shape.as_slice() else { return None };
        let size = height * width;
        let is_grey = |image: &[u8]| image[..size] == image[size..2 * size] && image[..size] == image[2 * size..];
        let parts = [&self.train, &self.validation, &self.test];
        let all = parts.into_iter().all(|images| (0..images.len()).all(|index| is_grey(images.image(index))));
        all.then(|| {
            "all images are grey and stored in colour: --set data.channels=1 takes a third of the memory".to_string()
        })
    }

    fn single_class(&self, counts: &[[usize; 2]]) -> Option<String> {
        let class = counts.iter().position(|count| count[0] == self.training_images())?;
        let name = &self.class_names[class];
        Some(format!(
            "all training images are of class {name}: a network learns to answer {name} whatever it sees; add other classes"
        ))
    }

    fn fewer_images_than_classes(&self) -> Option<String> {
        let (images, classes) = (self.training_images(), self.class_names.len());
        (images < classes).then(|| {
            format!("{images} training images for {classes} classes: not even one for each; add images of all classes")
        })
    }

    fn classes_without_images(&self, counts: &[[usize; 2]]) -> Vec<String> {
        let parts = ["training images, which cannot be learned", "test images, of which the accuracy says nothing"];
        let without = parts.into_iter().enumerate().filter_map(|(part, without)| {
            let classes = self.listed((0..counts.len()).filter(|&class| counts[class][part] == 0))?;
            Some(format!("classes without {without}: {classes}"))
        });
        without.collect()
    }

    fn dominant_classes(&self, counts: &[[usize; 2]]) -> Vec<String> {
        let parts = [("training", self.training_images()), ("test", self.test.len())];
        let dominant = parts.into_iter().enumerate().filter_map(|(part, (name, total))| {
            let class = (0..counts.len()).max_by_key(|&class| counts[class][part])?;
            let count = counts[class][part];
            // Only one class to train on is a note of its own.
            if count as f64 <= DOMINANT * total as f64 || (part == 0 && count == total) {
                return None;
            }
            let (class, share) = (&self.class_names[class], 100.0 * count as f64 / total as f64);
            Some(format!(
                "{share:.2} % of the {name} images ({count} of {total}) are of class {class}: always answering {class} gives \
                 that accuracy on them"
            ))
        });
        dominant.collect()
    }

    fn equal_images(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if all_equal(&self.train) {
            notes.push(format!("all {} training images are equal: nothing tells the classes apart", self.train.len()));
        } else if let Some(classes) = self.listed(classes_of_equal_images(&self.train, self.class_names.len())) {
            notes.push(format!("classes whose training images are all equal, one example in truth: {classes}"));
        }
        if all_equal(&self.test) {
            notes.push(format!("all {} test images are equal: the accuracy rests on one image", self.test.len()));
        }
        notes
    }

    /// Images that are there more than once, pixel by pixel: test images among the training images, and training images
    /// with several labels.
    fn repeated_images(&self) -> Vec<String> {
        let (train, test) = ([&self.train, &self.validation], &self.test);
        let images: Vec<&[u8]> =
            train.into_iter().flat_map(|part| (0..part.len()).map(move |index| part.image(index))).collect();
        let labels: Vec<u8> = train.into_iter().flat_map(|part| part.labels.iter().copied()).collect();
        // For each training image, the first one that is equal to it, and whether the labels of such images differ.
        let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(images.len());
        let first: Vec<usize> =
            images.iter().enumerate().map(|(index, image)| *seen.entry(*image).or_insert(index)).collect();
        let mut contradicts = vec![false; images.len()];
        for (index, &first) in first.iter().enumerate() {
            contradicts[first] |= labels[index] != labels[first];
        }

        let mut notes = Vec::new();
        let contradictory = first.iter().filter(|&&first| contradicts[first]).count();
        if contradictory > 0 && !all_equal(&self.train) {
            notes.push(format!(
                "{contradictory} of {} training images are there more than once with different labels: no network can be right \
                 on all of them",
                images.len()
            ));
        }
        let shared = (0..test.len()).filter_map(|index| Some((index, *seen.get(test.image(index))?)));
        let (mut count, mut other_label) = (0, 0);
        for (index, first) in shared {
            count += 1;
            other_label += usize::from(contradicts[first] || test.labels[index] != labels[first]);
        }
        if count > 0 {
            let labels = if other_label > 0 { format!(" ({other_label} with another label)") } else { String::new() };
            notes.push(format!(
                "{count} of {} test images are also training images{labels}: on them accuracy shows what was memorised, not \
                 what was learned",
                test.len()
            ));
        }
        notes
    }

    /// Names of classes with commas, the first ones of a long list; `None` if there are none.
    pub(super) fn listed(&self, classes: impl IntoIterator<Item = usize>) -> Option<String> {
        let names: Vec<&str> = classes.into_iter().map(|class| self.class_names[class].as_str()).collect();
        match names.len() {
            0 => None,
            count if count <= SHOWN + 1 => Some(names.join(", ")),
            count => Some(format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)),
        }
    }
}

/// Whether there are several images, and all are equal.
fn all_equal(images: &Images) -> bool {
    images.len() > 1 && (1..images.len()).all(|index| images.image(index) == images.image(0))
}

/// The classes of several images that are all equal.
fn classes_of_equal_images(images: &Images, classes: usize) -> Vec<usize> {
    // For each class, its first image, how many there are, and whether they are equal so far.
    let mut found = vec![(0, 0, true); classes];
    for (index, &label) in images.labels.iter().enumerate() {
        let (first, count, equal) = &mut found[usize::from(label)];
        if *count == 0 {
            *first = index;
        }
        *count += 1;
        *equal = *equal && images.image(index) == images.image(*first);
    }
    (0..classes).filter(|&class| matches!(found[class], (_, 2.., true))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::dataset;
    use super::*;

    /// Images of two pixels: the number of the image, and one that tells the parts apart.
    fn images(labels: &[u8], part: u8) -> Images {
        let pixels = (0..labels.len()).flat_map(|index| [index as u8, part]).collect();
        Images { pixels, labels: labels.to_vec(), shape: vec![1, 1, 2] }
    }

    fn set(train: &[u8], test: &[u8], classes: usize) -> Dataset {
        dataset(images(train, 0), images(test, 1), classes)
    }

    /// The only note of a set.
    fn note(set: &Dataset) -> String {
        let notes = set.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(!notes[0].contains('\n'));
        notes[0].clone()
    }

    #[test]
    fn ordinary_sets_have_none() {
        let set = set(&[0, 1, 2, 0, 1], &[2, 1, 0, 0], 3);
        assert_eq!(set.notes(), Vec::<String>::new());
        assert_eq!(set.class_counts(), [[2, 2], [2, 1], [1, 1]]);
    }

    #[test]
    fn images_split_off_count_as_training_images() {
        let mut parts = set(&[0, 1, 2, 0, 1], &[2, 1, 0, 0], 3);
        [parts.train, parts.validation] = parts.train.split(&[false, true, true, false, false]);
        assert_eq!(parts.class_counts(), [[2, 2], [2, 1], [1, 1]]);
        assert_eq!(parts.notes(), Vec::<String>::new());
        parts.test.pixels[..2].copy_from_slice(&parts.validation.pixels[..2]);
        assert!(note(&parts).starts_with("1 of 4 test images are also training images (1 with another label): "));
    }

    #[test]
    fn remarks_come_first() {
        let mut set = set(&[0, 1], &[0, 1], 2);
        set.remarks = vec!["two files were left out".to_string()];
        assert_eq!(set.notes(), set.remarks);
    }

    #[test]
    fn grey_images_stored_in_colour() {
        let images = |pixels: &[u8], labels: &[u8]| Images {
            pixels: pixels.to_vec(),
            labels: labels.to_vec(),
            shape: vec![3, 1, 1],
        };
        let grey = dataset(images(&[1, 1, 1, 2, 2, 2], &[0, 1]), images(&[3, 3, 3, 4, 4, 4], &[0, 1]), 2);
        assert!(note(&grey).contains("--set data.channels=1"));
        let colour = dataset(images(&[1, 1, 1, 2, 2, 2], &[0, 1]), images(&[3, 3, 3, 4, 5, 4], &[0, 1]), 2);
        assert_eq!(colour.notes(), Vec::<String>::new());
    }

    #[test]
    fn one_class_teaches_nothing() {
        let notes = set(&[0, 0, 0], &[0], 1).notes();
        assert!(notes[0].starts_with("all training images are of class c0: "));
        assert!(notes[1].starts_with("100.00 % of the test images (1 of 1) are of class c0: "));
        assert_eq!(notes.len(), 2);
        let notes = set(&[1, 1, 1], &[1, 0, 0], 2).notes();
        assert!(
            notes[0].starts_with("all training images are of class c1: ")
                && notes[1].ends_with("cannot be learned: c0")
        );
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn a_class_that_dominates() {
        let mut labels = [0; 100];
        labels[..10].fill(1);
        assert_eq!(set(&labels, &[0, 1], 2).notes(), Vec::<String>::new());
        labels[9] = 0;
        let text = note(&set(&labels, &[0, 1], 2));
        assert!(text.starts_with("91.00 % of the training images (91 of 100) are of class c0: "), "{text}");
        let text = note(&set(&[0, 1], &labels, 2));
        assert!(text.starts_with("91.00 % of the test images (91 of 100) are of class c0: "), "{text}");
    }

    #[test]
    fn classes_without_images() {
        let text = note(&set(&[0, 2, 3, 3], &[0, 1, 2, 3], 4));
        assert_eq!(text, "classes without training images, which cannot be learned: c1");
        let text = note(&set(&[0, 1, 2, 3], &[0, 3, 0], 4));
        assert_eq!(text, "classes without test images, of which the accuracy says nothing: c1, c2");
        let notes = set(&[0, 8], &[0, 8], 9).notes();
        assert!(notes[0].starts_with("2 training images for 9 classes: "), "{notes:?}");
        assert!(notes[1].ends_with(": c1, c2, c3, c4, c5 and 2 more"), "{notes:?}");
        assert_eq!(notes.len(), 3);
    }

    #[test]
    fn equal_images() {
        let ordinary = set(&[0, 1, 0, 1], &[0, 1], 2);
        let mut all = ordinary.clone();
        all.train.pixels = [7, 0].repeat(4);
        assert!(note(&all).starts_with("all 4 training images are equal: "));
        let mut test = ordinary.clone();
        test.test.pixels = [7, 1].repeat(2);
        assert!(note(&test).starts_with("all 2 test images are equal: "));
        let mut class = ordinary;
        class.train.pixels = vec![1, 0, 2, 0, 1, 0, 3, 0];
        assert!(note(&class).starts_with("classes whose training images are all equal, "));
    }

    #[test]
    fn images_that_are_there_again() {
        let ordinary = set(&[0, 1, 0, 1], &[0, 1, 0], 2);
        let mut shared = ordinary.clone();
        shared.test.pixels[..4].copy_from_slice(&ordinary.train.pixels[..4]);
        assert!(note(&shared).starts_with("2 of 3 test images are also training images: "));
        shared.test.labels[0] = 1;
        let text = note(&shared);
        assert!(text.starts_with("2 of 3 test images are also training images (1 with another label): "), "{text}");
        let mut contradictory = ordinary;
        contradictory.train.pixels[2..4].copy_from_slice(&[0, 0]);
        let text = note(&contradictory);
        assert!(text.starts_with("2 of 4 training images are there more than once with different labels: "), "{text}");
    }
}

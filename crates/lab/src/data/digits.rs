//! The handwritten digits that the program carries for its small experiments.
//!
//! 1,797 images of 8 x 8 pixels with values from 0 to 16: the test set of "Optical recognition of handwritten digits"
//! (Alpaydin and Kaynak, UCI repository), as scikit-learn ships it; the BSD licence lies beside the file.

use std::io::Read;

use flate2::read::GzDecoder;

/// Pixels of an image.
pub(crate) const PIXELS: usize = 64;

/// Classes.
pub(crate) const CLASSES: usize = 10;

/// Images and labels.
pub(crate) struct Digits {
    /// Pixels from 0 to 1, image by image.
    pub pixels: Vec<f32>,
    /// The digit of each image.
    pub labels: Vec<u8>,
}

/// Reads the embedded file.
pub(crate) fn load() -> Digits {
    let mut text = String::new();
    let mut reader = GzDecoder::new(&include_bytes!("../../assets/digits/digits.csv.gz")[..]);
    reader.read_to_string(&mut text).expect("the file is part of the program");
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut numbers = line.split(',').map(|number| number.parse::<f32>().expect("the file holds numbers"));
        pixels.extend(numbers.by_ref().take(PIXELS).map(|pixel| pixel / 16.0));
        labels.push(numbers.next().expect("each line ends with a label") as u8);
    }
    Digits { pixels, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_whole() {
        let digits = load();
        assert_eq!((digits.labels.len(), digits.pixels.len()), (1797, 1797 * PIXELS));
        assert!(digits.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        let counts: Vec<usize> =
            (0..CLASSES as u8).map(|class| digits.labels.iter().filter(|label| **label == class).count()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }
}

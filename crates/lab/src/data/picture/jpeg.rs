//! Whether a JPEG file is all there.

/// The mark of the end.
const END: u8 = 0xd9;

/// The mark of a second beginning, which has no content.
const BEGINNING: u8 = 0xd8;

/// Whether the marks of a JPEG file lead to that of its end.
///
/// A mark is 0xff and a byte that is neither 0x00 (a value 0xff among those of the image), 0x01, 0xd0 to 0xd7 (marks
/// among the values) nor 0xff (padding). All marks but that of the end have a content whose length follows in two
/// bytes, which count themselves; what follows the content goes on to the next mark.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let is_mark = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd7 | 0xff);
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(place) = rest.windows(2).position(is_mark) {
        let mark = rest[place + 1];
        rest = &rest[place + 2..];
        match mark {
            END => return true,
            BEGINNING => {}
            _ => {
                let Some(length) = rest.first_chunk::<2>() else { return false };
                let length = usize::from(u16::from_be_bytes(*length));
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};
    use proptest::prelude::*;

    use super::*;

    fn jpeg() -> Vec<u8> {
        let pixels: Vec<u8> = (0..16 * 16 * 3u32).map(|value| (value * 7919 % 251) as u8).collect();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 90).write_image(&pixels, 16, 16, ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn whole_files_end_and_others_do_not() {
        let bytes = jpeg();
        assert!(is_whole(&bytes));
        assert!(is_whole(&[&bytes[..], b"padding"].concat()));
        assert!((0..bytes.len()).all(|length| !is_whole(&bytes[..length])));
    }

    #[test]
    fn the_end_of_a_small_picture_inside_is_not_that_of_the_file() {
        // A comment that holds the mark of an end.
        let comment = [0xff, 0xfe, 0, 6, 0xff, END, 0xff, END];
        let bytes = jpeg();
        let with_comment = [&bytes[..2], &comment, &bytes[2..]].concat();
        assert!(is_whole(&with_comment));
        assert!(!is_whole(&with_comment[..with_comment.len() - 2]));
        assert!(!is_whole(&with_comment[..10]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn anything_has_an_answer(bytes in prop::collection::vec(prop_oneof![Just(0xffu8), any::<u8>()], 0..200)) {
            let _ = is_whole(&bytes);
        }
    }
}

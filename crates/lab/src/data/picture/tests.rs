use std::io::Write;

use flate2::Compression;
use flate2::Crc;
use flate2::write::ZlibEncoder;
use image::codecs::jpeg::JpegEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Kinds of PNG files by the number in their head.
pub(in crate::data) const GREY: u8 = 0;
pub(in crate::data) const RGB: u8 = 2;
pub(in crate::data) const PALETTE: u8 = 3;
pub(in crate::data) const GREY_ALPHA: u8 = 4;
pub(in crate::data) const RGBA: u8 = 6;

fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(content);
    [&(content.len() as u32).to_be_bytes()[..], name, content, &crc.sum().to_be_bytes()].concat()
}

/// A PNG file; `data` are its rows, each with as many bytes as the others, of samples as they are stored.
pub(in crate::data) fn png(size: [u32; 2], kind: u8, bits: u8, palette: &[u8], data: &[u8]) -> Vec<u8> {
    let [height, width] = size;
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, kind, 0, 0, 0]].concat();
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in data.chunks((data.len() / height.max(1) as usize).max(1)) {
        // Each row begins with the number of its filter: none.
        rows.write_all(&[&[0][..], row].concat()).unwrap();
    }
    let palette = if palette.is_empty() { Vec::new() } else { chunk(b"PLTE", palette) };
    let rows = chunk(b"IDAT", &rows.finish().unwrap());
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &head), &palette, &rows, &chunk(b"IEND", &[])].concat()
}

/// A JPEG file of one colour, or of one grey.
pub(in crate::data) fn jpeg([height, width]: [u32; 2], colour: &[u8]) -> Vec<u8> {
    let pixels = colour.repeat((height * width) as usize);
    let kind = if colour.len() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 100).write_image(&pixels, width, height, kind).unwrap();
    bytes
}

fn stored(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("image.png");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read_as(bytes: &[u8], shape: [usize; 3]) -> Result<Vec<u8>, DataError> {
    let (_folder, path) = stored(bytes);
    read_image(&path, &shape)
}

fn refusal(bytes: &[u8]) -> String {
    let text = read_as(bytes, [1, 1, 2]).unwrap_err().to_string();
    assert!(text.contains("image.png: ") && !text.contains('\n'), "{text}");
    text
}

#[test]
fn reads_what_it_writes() {
    let (_folder, path) = stored(&[]);
    let pixels = [0, 1, 100, 200, 254, 255];
    write_png(&path, &[1, 2, 3], &pixels).unwrap();
    assert_eq!(read_image(&path, &[1, 2, 3]).unwrap(), pixels);
    assert_eq!(read_image(&path, &[3, 2, 3]).unwrap(), [pixels; 3].concat());
    write_png(&path, &[3, 1, 2], &pixels).unwrap();
    assert_eq!(read_image(&path, &[3, 1, 2]).unwrap(), pixels);
    assert_eq!(look(&path).unwrap(), Some(Header { height: 1, width: 2, is_colour: true }));

    assert!(matches!(write_png(&path, &[1, 3, 3], &pixels), Err(DataError::Malformed { .. })));
    assert!(matches!(write_png(&path, &[1, 0, 3], &[]), Err(DataError::Malformed { .. })));
    assert!(matches!(write_png(&path, &[6], &pixels), Err(DataError::Malformed { .. })));
    let nowhere = path.with_file_name("nowhere").join("image.png");
    assert!(matches!(write_png(&nowhere, &[1, 2, 3], &pixels), Err(DataError::File(_))));
}

#[test]
fn every_kind_becomes_grey_and_colour() {
    /// Kind, bits, two pixels as stored, and the three planes expected.
    type Kind<'a> = (u8, u8, &'a [u8], [[u8; 2]; 3]);
    let colours = [[255, 10], [0, 20], [0, 30]];
    let greys = |values: [u8; 2]| [values; 3];
    let kinds: [Kind; 12] = [
        (GREY, 1, &[0b0100_0000], greys([0, 255])),
        (GREY, 2, &[0b0110_0000], greys([85, 170])),
        (GREY, 4, &[0x1f], greys([17, 255])),
        (GREY, 8, &[7, 9], greys([7, 9])),
        // 385 is 1.498 times 257, 386 is 1.502 times.
        (GREY, 16, &[1, 0x80, 1, 0x81], greys([1, 1])),
        (GREY, 16, &[1, 0x82, 0xff, 0xff], greys([2, 255])),
        (GREY_ALPHA, 8, &[200, 255, 200, 128], greys([200, 100])),
        (GREY_ALPHA, 16, &[0xff, 0xff, 0x80, 0, 0xff, 0xff, 0xff, 0xff], greys([128, 255])),
        (RGB, 8, &[255, 0, 0, 10, 20, 30], colours),
        (RGB, 16, &[255, 255, 0, 0, 0, 0, 10, 10, 20, 20, 30, 30], colours),
        (RGBA, 8, &[255, 0, 0, 255, 20, 40, 60, 128], colours),
        (PALETTE, 4, &[0x10], colours),
    ];
    for (kind, bits, data, planes) in kinds {
        let palette: &[u8] = if kind == PALETTE { &[10, 20, 30, 255, 0, 0] } else { &[] };
        let bytes = png([1, 2], kind, bits, palette, data);
        assert_eq!(read_as(&bytes, [3, 1, 2]).unwrap(), planes.concat(), "{kind} {bits}");
        let grey = [0, 1].map(|i| luma(planes[0][i], planes[1][i], planes[2][i]));
        assert_eq!(read_as(&bytes, [1, 1, 2]).unwrap(), grey, "{kind} {bits}");
    }
}

#[test]
fn jpeg_files_are_read_whatever_their_name() {
    let grey = read_as(&jpeg([16, 24], &[200]), [1, 16, 24]).unwrap();
    assert!(grey.iter().all(|value| value.abs_diff(200) <= 2));
    let colour = read_as(&jpeg([16, 16], &[200, 30, 90]), [3, 16, 16]).unwrap();
    for (plane, wanted) in colour.chunks_exact(256).zip([200u8, 30, 90]) {
        assert!(plane.iter().all(|value| value.abs_diff(wanted) <= 4), "{plane:?}");
    }
}

#[test]
fn luma_keeps_grey_and_weighs_colours() {
    assert!((0..=255).all(|value| luma(value, value, value) == value));
    assert_eq!([luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)], [76, 150, 29]);
}

#[test]
fn images_of_any_size_are_resized() {
    // Halves are means of pixels under a triangle; one value stays itself.
    let bytes = png([2, 4], GREY, 8, &[], &[0, 0, 100, 100, 0, 0, 100, 100]);
    let half = read_as(&bytes, [1, 1, 2]).unwrap();
    assert!(half[0] < 30 && half[1] > 70 && u16::from(half[0]) + u16::from(half[1]) == 100, "{half:?}");
    let large = read_as(&png([1, 1], RGB, 8, &[], &[9, 8, 7]), [3, 5, 3]).unwrap();
    assert_eq!(large, [[9; 15], [8; 15], [7; 15]].concat());
    // The way is that of a set.
    let planes: Vec<u8> = (0..3 * 7 * 5u8).collect();
    let data: Vec<u8> = (0..35).flat_map(|pixel| [pixel, pixel + 35, pixel + 70]).collect();
    let bytes = png([7, 5], RGB, 8, &[], &data);
    for to in [[3, 4, 4], [1, 4, 4], [1, 7, 5], [3, 9, 2]] {
        assert_eq!(read_as(&bytes, to).unwrap(), fit(&planes, [3, 7, 5], to));
    }
}

#[test]
fn drawings_in_the_transparency_alone_are_refused() {
    for (kind, data) in [(GREY_ALPHA, &[0, 0, 0, 255][..]), (RGBA, &[0, 0, 0, 3, 0, 0, 0, 4][..])] {
        let text = refusal(&png([1, 2], kind, 8, &[], data));
        assert!(text.contains("transparency") && text.contains("save it on a plain background"), "{text}");
    }
    // White drawings stay, and what is black or nowhere is an image like others.
    let plain: [(&[u8], [u8; 2]); 3] =
        [(&[255, 0, 255, 255], [0, 255]), (&[0, 255, 0, 255], [0, 0]), (&[7, 0, 9, 0], [0, 0])];
    for (data, expected) in plain {
        assert_eq!(read_as(&png([1, 2], GREY_ALPHA, 8, &[], data), [1, 1, 2]).unwrap(), expected);
    }
}

#[test]
fn heads_that_promise_too_much_are_refused() {
    for size in [[65_536, 65_536], [1, 16_385], [16_384, 16_384]] {
        let text = refusal(&png(size, GREY, 8, &[], &[0; 6]));
        assert!(text.contains("the limits are 67108864 pixels and 16384 a side"), "{text}");
    }
    let text = refusal(&png([0, 1], GREY, 8, &[], &[]));
    assert!(text.contains("damaged") || text.contains("without pixels"), "{text}");
}

#[test]
fn shapes_of_no_image_are_refused() {
    let (_folder, path) = stored(&png([1, 1], GREY, 8, &[], &[1]));
    let text = read_image(&path, &[2, 3, 3]).unwrap_err().to_string();
    assert!(text.contains("an image of 2 channels"), "{text}");
    let text = read_image(&path, &[12]).unwrap_err().to_string();
    assert!(text.contains("a row of 12 features"), "{text}");
}

#[test]
fn what_is_no_image_is_refused() {
    for bytes in [&b""[..], b"text", &[0x89], b"GIF89a", b"\xff\xd8"] {
        assert!(refusal(bytes).contains("image.png: is no PNG or JPEG image"));
    }
    assert!(refusal(b"\x89PNG\r\n\x1a\nrest").contains("damaged image"));
    assert!(refusal(b"\xff\xd8\xff\xe0rest").contains("damaged image"));
    assert!(matches!(read_image(Path::new("/nowhere.png"), &[1, 1, 1]), Err(DataError::Io { .. })));
    let folder = TempDir::new().unwrap();
    assert!(read_image(folder.path(), &[1, 1, 1]).unwrap_err().to_string().contains("is not a file"));

    let animated = png([1, 1], GREY, 8, &[], &[1]);
    let frames = chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]);
    // Behind the head, which is 8 + 25 bytes long.
    let animated = [&animated[..33], &frames, &animated[33..]].concat();
    assert!(refusal(&animated).contains("is an animation"));
}

#[test]
fn cut_off_files_are_refused() {
    let pixels: Vec<u8> = (0..32 * 32u32).map(|value| (value * 7919 % 251) as u8).collect();
    let whole = png([32, 32], GREY, 8, &[], &pixels);
    assert!(refusal(&whole[..whole.len() / 2]).contains("damaged image"));
    let whole = jpeg([64, 64], &[1, 200, 3]);
    assert!(refusal(&whole[..whole.len() - 2]).contains("is cut off, the mark of its end is missing"));
    assert!(refusal(&whole[..40]).contains("image.png: is "));
}

#[test]
fn images_of_a_folder_are_listed_by_name() {
    let folder = TempDir::new().unwrap();
    assert!(image_files(folder.path()).unwrap_err().to_string().contains("holds no PNG or JPEG image"));
    for (name, bytes) in [("b.png", jpeg([1, 1], &[3])), ("a", png([1, 1], GREY, 8, &[], &[1])), ("c.png", vec![1])] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::create_dir(folder.path().join("d.png")).unwrap();
    assert_eq!(image_files(folder.path()).unwrap(), ["a", "b.png"].map(|name| folder.path().join(name)));
    assert!(!is_image(&folder.path().join("c.png")) && is_named_image(&folder.path().join("c.PNG")));
    assert!(matches!(image_files(&folder.path().join("nowhere")), Err(DataError::Io { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn damage_gives_an_error_or_an_image_of_the_right_size(
        is_png in any::<bool>(),
        flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
        length in 1usize..700,
    ) {
        let mut bytes = if is_png {
            png([2, 3], PALETTE, 2, &[9; 12], &[0b0001_1000; 2])
        } else {
            jpeg([2, 3], &[1, 200, 3])
        };
        for (position, mask) in flips {
            let position = position % bytes.len();
            bytes[position] ^= mask;
        }
        bytes.truncate(length);
        if let Ok(pixels) = read_as(&bytes, [1, 2, 3]) {
            prop_assert_eq!(pixels.len(), 6);
        }
    }

    #[test]
    fn resizing_keeps_the_range_and_the_shape(
        planes in prop::collection::vec(any::<u8>(), 3 * 4 * 5),
        is_grey in any::<bool>(),
        height in 1usize..12,
        width in 1usize..12,
    ) {
        let to = [if is_grey { 1 } else { 3 }, height, width];
        let fitted = fit(&planes, [3, 4, 5], to);
        prop_assert_eq!(fitted.len(), to.iter().product::<usize>());
        let (lowest, highest) = (planes.iter().min(), planes.iter().max());
        prop_assert!(fitted.iter().min() >= lowest && fitted.iter().max() <= highest);
    }
}

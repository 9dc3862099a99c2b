//! Single images: PNG files of any kind, turned into the planes that a model takes.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::ops::Range;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, Transformations};

use super::DataError;
use crate::files;

/// Reads a PNG as `(channels, height, width)` bytes, one plane of pixels a channel, row by row.
///
/// Any kind of PNG is taken: grey, colour or indexed, 1 to 16 bits, with or without transparency, which is ignored. With
/// one channel colours become grey by the luma of ITU-R BT.601, rounded as Pillow does it; with three the planes are red,
/// green and blue, and grey fills all three.
///
/// # Errors
/// [`DataError::WrongImageSize`] if the header tells another size, before memory is taken for pixels;
/// [`DataError::Malformed`] if the file is no PNG, is damaged, is an animation, shows something by its transparency alone (one
/// colour everywhere, so that nothing would be left), or `channels` is neither 1 nor 3.
pub fn read_png(path: &Path, expected: (usize, usize, usize)) -> Result<Vec<u8>, DataError> {
    let (channels, height, width) = expected;
    if channels != 1 && channels != 3 {
        let problem = format!("cannot become an image of {channels} channels; use a model that takes 1 or 3");
        return Err(DataError::malformed(path, problem));
    }
    let failed = |cause| decoding_error(path, cause);
    let file = File::open(path).map_err(|cause| DataError::io(path, cause))?;
    let mut decoder = Decoder::new(BufReader::new(file));
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes become colours, and every depth becomes 8 bits.
    decoder.set_transformations(Transformations::normalize_to_color8());

    let header = decoder.read_header_info().map_err(failed)?;
    let found = (header.width as usize, header.height as usize);
    if found != (width, height) {
        let path = path.to_path_buf();
        return Err(DataError::WrongImageSize { path, found, expected: (width, height) });
    }
    let mut reader = decoder.read_info().map_err(failed)?;
    // The frames of an animation may be smaller than the header says.
    if reader.info().frame_control().is_some() {
        return Err(DataError::malformed(path, "is an animation; save one frame of it"));
    }
    let size = reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded).map_err(failed)?;
    let mut samples = vec![0; size];
    reader.next_frame(&mut samples).map_err(failed)?;

    let samples_per_pixel = reader.output_color_type().0.samples();
    let pixels = samples.chunks_exact(samples_per_pixel);
    // One or two samples are grey, three or four a colour; the second and the fourth are transparency.
    let is_colour = samples_per_pixel >= 3;
    let colours = if is_colour { 3 } else { 1 };
    let vary = |of: Range<usize>| pixels.clone().any(|pixel| pixel[of.clone()] != samples[of.clone()]);
    if vary(colours..samples_per_pixel) && !vary(0..colours) {
        let problem = "has its drawing in the transparency alone, which is ignored: all its pixels have one colour; save it on \
                       a plain background";
        return Err(DataError::malformed(path, problem));
    }
    Ok(match (channels, is_colour) {
        (1, false) => pixels.map(|pixel| pixel[0]).collect(),
        (1, true) => pixels.map(|pixel| luma(pixel[0], pixel[1], pixel[2])).collect(),
        (_, false) => pixels.map(|pixel| pixel[0]).collect::<Vec<u8>>().repeat(3),
        (_, true) => (0..3).flat_map(|channel| pixels.clone().map(move |pixel| pixel[channel])).collect(),
    })
}

/// Brightness of a colour: 0.299 red + 0.587 green + 0.114 blue, in parts of 65,536 and rounded; grey stays as it is.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

/// Writes `[height, width]` bytes as a grey PNG of 8 bits.
///
/// # Errors
/// [`DataError::Malformed`] if there are not `width * height` pixels or there are none; [`DataError::File`] if the file cannot
/// be written.
pub fn write_png_grey(path: &Path, width: usize, height: usize, pixels: &[u8]) -> Result<(), DataError> {
    let (Ok(png_width), Ok(png_height), true) =
        (u32::try_from(width), u32::try_from(height), width.checked_mul(height) == Some(pixels.len()))
    else {
        let problem = format!("an image of {width} x {height} cannot have {} pixels; give one byte each", pixels.len());
        return Err(DataError::malformed(path, problem));
    };
    let mut content = Vec::new();
    let mut encoder = Encoder::new(&mut content, png_width, png_height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    let encoded = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    encoded.map_err(|cause| {
        DataError::malformed(path, format!("cannot be written ({cause}); give an image with pixels"))
    })?;
    Ok(files::write_output(path, &content)?)
}

/// Tells a damaged file from one that the system could not read.
fn decoding_error(path: &Path, cause: DecodingError) -> DataError {
    match cause {
        DecodingError::IoError(cause) if cause.kind() != ErrorKind::UnexpectedEof => DataError::io(path, cause),
        other => DataError::malformed(path, format!("is no PNG or a damaged one ({other}); save the image again")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use flate2::Crc;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// A PNG in memory.
    fn encode(size: (u32, u32), color: ColorType, depth: BitDepth, palette: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if !palette.is_empty() {
            encoder.set_palette(palette.to_vec());
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    fn stored(bytes: &[u8]) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("image.png");
        fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn read(bytes: &[u8], expected: (usize, usize, usize)) -> Result<Vec<u8>, DataError> {
        let (_folder, path) = stored(bytes);
        read_png(&path, expected)
    }

    #[test]
    fn reads_what_it_writes() {
        let (_folder, path) = stored(&[]);
        let pixels = [0, 1, 100, 200, 254, 255];
        write_png_grey(&path, 3, 2, &pixels).unwrap();
        assert_eq!(read_png(&path, (1, 2, 3)).unwrap(), pixels);
        assert_eq!(read_png(&path, (3, 2, 3)).unwrap(), [pixels; 3].concat());
        assert!(matches!(write_png_grey(&path, 3, 3, &pixels), Err(DataError::Malformed { .. })));
        assert!(matches!(write_png_grey(&path, 0, 3, &[]), Err(DataError::Malformed { .. })));
        let nowhere = path.with_file_name("nowhere").join("image.png");
        assert!(matches!(write_png_grey(&nowhere, 3, 2, &pixels), Err(DataError::File(_))));
    }

    #[test]
    fn refuses_a_drawing_in_the_transparency_alone() {
        use BitDepth::{Eight, Sixteen};
        use ColorType::{GrayscaleAlpha, Rgb, Rgba};
        let refused: [(ColorType, BitDepth, &[u8]); 3] = [
            (GrayscaleAlpha, Eight, &[0, 0, 0, 255]),
            (GrayscaleAlpha, Sixteen, &[9, 0, 1, 0, 9, 0, 200, 0]),
            (Rgba, Eight, &[255, 255, 255, 3, 255, 255, 255, 4]),
        ];
        for (color, depth, data) in refused {
            let bytes = encode((2, 1), color, depth, &[], data);
            for channels in [1, 3] {
                let text = read(&bytes, (channels, 1, 2)).unwrap_err().to_string();
                assert!(text.contains("transparency") && text.contains("save it on a plain background"), "{text}");
            }
        }
        // One colour everywhere, and nothing hidden: plain images.
        let plain: [(ColorType, &[u8]); 3] =
            [(GrayscaleAlpha, &[7, 255, 7, 255]), (Rgba, &[7, 7, 7, 128, 7, 7, 7, 128]), (Rgb, &[7, 7, 7, 7, 7, 7])];
        for (color, data) in plain {
            assert_eq!(read(&encode((2, 1), color, Eight, &[], data), (1, 1, 2)).unwrap(), [7, 7], "{color:?}");
        }
    }

    #[test]
    fn turns_every_kind_into_grey_and_colour() {
        use BitDepth::{Eight, Four, One, Sixteen, Two};
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        /// Colour type, depth, two pixels as stored, and the three planes expected.
        type Kind<'a> = (ColorType, BitDepth, &'a [u8], [[u8; 2]; 3]);
        let colours = [[255, 10], [0, 20], [0, 30]];
        let greys = |values: [u8; 2]| [values; 3];
        let kinds: [Kind; 9] = [
            (Grayscale, One, &[0b0100_0000], greys([0, 255])),
            (Grayscale, Two, &[0b0110_0000], greys([85, 170])),
            (Grayscale, Four, &[0x1f], greys([17, 255])),
            (Grayscale, Sixteen, &[1, 99, 200, 0], greys([1, 200])),
            (GrayscaleAlpha, Eight, &[7, 0, 8, 255], greys([7, 8])),
            (Rgb, Eight, &[255, 0, 0, 10, 20, 30], colours),
            (Rgb, Sixteen, &[255, 0, 0, 0, 0, 0, 10, 0, 20, 0, 30, 0], colours),
            (Rgba, Eight, &[255, 0, 0, 9, 10, 20, 30, 0], colours),
            (Indexed, Four, &[0x10], colours),
        ];
        for (color, depth, data, planes) in kinds {
            let palette: &[u8] = if color == Indexed { &[10, 20, 30, 255, 0, 0] } else { &[] };
            let bytes = encode((2, 1), color, depth, palette, data);
            assert_eq!(read(&bytes, (3, 1, 2)).unwrap(), planes.concat(), "{color:?} {depth:?}");
            let grey = [0, 1].map(|i| luma(planes[0][i], planes[1][i], planes[2][i]));
            assert_eq!(read(&bytes, (1, 1, 2)).unwrap(), grey, "{color:?} {depth:?}");
        }
    }

    #[test]
    fn luma_keeps_grey_and_weighs_colours() {
        assert!((0..=255).all(|value| luma(value, value, value) == value));
        assert_eq!([luma(255, 0, 0), luma(0, 255, 0), luma(0, 0, 255)], [76, 150, 29]);
    }

    #[test]
    fn names_the_sizes_found_and_expected() {
        let bytes = encode((3, 2), ColorType::Grayscale, BitDepth::Eight, &[], &[0; 6]);
        let text = read(&bytes, (1, 28, 27)).unwrap_err().to_string();
        assert!(text.contains("image.png: the image is 3 x 2 pixels (width x height), expected 27 x 28"), "{text}");
        assert!(matches!(read(&bytes, (2, 2, 3)), Err(DataError::Malformed { .. })));
    }

    #[test]
    fn refuses_four_billion_pixels_by_the_header() {
        let mut bytes = encode((3, 2), ColorType::Grayscale, BitDepth::Eight, &[], &[0; 6]);
        // Width, height and checksum of the first chunk.
        bytes[16..20].copy_from_slice(&65_536u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&65_536u32.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = read(&bytes, (1, 28, 28)).unwrap_err();
        assert!(matches!(error, DataError::WrongImageSize { found: (65_536, 65_536), expected: (28, 28), .. }));
    }

    #[test]
    fn refuses_animations_and_what_is_no_png() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 1, 1);
        encoder.set_animated(1, 0).unwrap();
        encoder.write_header().unwrap().write_image_data(&[1]).unwrap();
        assert!(read(&bytes, (1, 1, 1)).unwrap_err().to_string().contains("is an animation"));

        for bytes in [&b""[..], b"text", &[0x89]] {
            let text = read(bytes, (1, 1, 1)).unwrap_err().to_string();
            assert!(text.contains("image.png: is no PNG or a damaged one") && !text.contains('\n'), "{text}");
        }
        assert!(matches!(read_png(Path::new("/nowhere.png"), (1, 1, 1)), Err(DataError::Io { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn damage_gives_an_error_or_an_image_of_the_right_size(
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
            length in 1usize..120,
        ) {
            let mut bytes = encode((3, 2), ColorType::Indexed, BitDepth::Two, &[9; 12], &[0b0001_1000; 2]);
            for (position, mask) in flips {
                let position = position % bytes.len();
                bytes[position] ^= mask;
            }
            bytes.truncate(length);
            if let Ok(pixels) = read(&bytes, (1, 2, 3)) {
                prop_assert_eq!(pixels.len(), 6);
            }
        }
    }
}

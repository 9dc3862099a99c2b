//! Single images: PNG and JPEG files of any kind and size, turned into the planes that a model takes.
//!
//! The way is the same in training and in prediction: transparency over black in the depth of the file, 8 bits a value
//! (16-bit values divided by 257 and rounded), grey where grey is asked for, the size that is asked for (triangle
//! filter, which is bilinear and, where images become smaller, a weighted mean over all pixels), and last grey in all
//! three planes where colour is asked for. The orientation that a camera notes is not applied, colour profiles are not
//! either.

mod jpeg;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::{PngDecoder, PngEncoder};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, Limits};
use sha2::{Digest, Sha256};

use super::DataError;
use crate::files;

/// Most pixels of one image: 2^26.
const MOST_PIXELS: u64 = 1 << 26;

/// Most pixels of a side of an image.
const LONGEST_SIDE: u32 = 1 << 14;

/// Largest file of one image: 1 GiB.
const LARGEST_FILE: u64 = 1 << 30;

/// Endings of names that promise an image.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// What is wrong with a file that is damaged.
const MEND: &str = "save or copy the image again";

/// What the head of a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Whether the file stores colours; they may all be grey.
    pub(super) is_colour: bool,
}

/// Whether a file begins as PNG or JPEG files do, whatever its name.
pub fn is_image(path: &Path) -> bool {
    path.is_file()
        && File::open(path).is_ok_and(|file| format_of(&mut BufReader::new(file)).is_ok_and(|format| format.is_some()))
}

/// Whether the name of a file promises an image.
pub(super) fn is_named_image(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The PNG and JPEG files of a folder, by name; those of folders inside are not looked for.
///
/// # Errors
/// If the folder cannot be read or has none.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |cause| DataError::io(folder, cause);
    let entries = fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed));
    let mut paths = paths.collect::<Result<Vec<_>, _>>()?;
    paths.retain(|path| is_image(path));
    paths.sort();
    if paths.is_empty() {
        return Err(DataError::folder(folder, "holds no PNG or JPEG image; give a folder with some, or an image"));
    }
    Ok(paths)
}

/// Reads one image as an input of the shape `[channels, height, width]`: one plane of bytes a channel, row by row.
///
/// Any PNG or JPEG is taken, of any size, as [the images of a set](super::load) are: transparency over black, 16 bits
/// to 8, colours to grey by the luma of ITU-R BT.601 where there is one channel, grey to all planes where there are
/// three, resized with a triangle filter.
///
/// # Errors
/// [`DataError::Io`] and [`DataError::Malformed`]: the file is no PNG or JPEG, is damaged, is too large, is an
/// animation, has its drawing in the transparency alone (nothing of it is left over black), or no image has this shape.
pub fn read_image(path: &Path, shape: &[usize]) -> Result<Vec<u8>, DataError> {
    let to = image_shape(path, shape)?;
    Ok(read(path, to)?.0)
}

/// A shape that an image file can be turned into.
pub(super) fn image_shape(path: &Path, shape: &[usize]) -> Result<[usize; 3], DataError> {
    match *shape {
        [channels @ (1 | 3), height, width] if height > 0 && width > 0 => Ok([channels, height, width]),
        [channels, _, _] => {
            let problem = format!("cannot become an image of {channels} channels; use a model that takes 1 or 3");
            Err(DataError::malformed(path, problem))
        }
        _ => {
            let features: usize = shape.iter().product();
            let problem = format!("cannot become a row of {features} features; use a model that takes images");
            Err(DataError::malformed(path, problem))
        }
    }
}

/// The planes of an image file in this shape, and the SHA-256 of the file.
pub(super) fn read(path: &Path, to: [usize; 3]) -> Result<(Vec<u8>, String), DataError> {
    let bytes = read_file(path)?;
    let (planes, from) = decode(&bytes, path)?;
    Ok((fit(&planes, from, to), format!("{:x}", Sha256::digest(&bytes))))
}

/// Size and kind of an image file; `None` if it is none and its name does not promise one.
pub(super) fn look(path: &Path) -> Result<Option<Header>, DataError> {
    let failed = |cause| DataError::io(path, cause);
    check_file_size(path)?;
    let mut input = BufReader::new(File::open(path).map_err(failed)?);
    let Some(format) = format_of(&mut input).map_err(failed)? else {
        return if is_named_image(path) { Err(no_image(path)) } else { Ok(None) };
    };
    let decoder = decoder(input, format, path)?;
    let (width, height) = decoder.dimensions();
    Ok(Some(Header {
        height: height as usize,
        width: width as usize,
        is_colour: decoder.color_type().channel_count() >= 3,
    }))
}

/// One image `[channels, height, width]` with other channels, height and width; channels change between 1 and 3 only.
pub(super) fn fit(planes: &[u8], from: [usize; 3], to: [usize; 3]) -> Vec<u8> {
    let grey = ((from[0], to[0]) == (3, 1)).then(|| grey_plane(planes));
    let planes = grey.as_deref().unwrap_or(planes);
    let resized = if from[1..] == to[1..] {
        planes.to_vec()
    } else {
        planes.chunks_exact(from[1] * from[2]).flat_map(|plane| resized(plane, from, to)).collect()
    };
    if (from[0], to[0]) == (1, 3) { resized.repeat(3) } else { resized }
}

/// One plane with the height and the width of another shape.
fn resized(plane: &[u8], [_, height, width]: [usize; 3], [_, to_height, to_width]: [usize; 3]) -> Vec<u8> {
    let image = GrayImage::from_raw(width as u32, height as u32, plane.to_vec()).expect("a plane has its pixels");
    imageops::resize(&image, to_width as u32, to_height as u32, FilterType::Triangle).into_raw()
}

/// The brightness of red, green and blue planes.
fn grey_plane(planes: &[u8]) -> Vec<u8> {
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(red.len());
    red.iter().zip(green).zip(blue).map(|((&red, &green), &blue)| luma(red, green, blue)).collect()
}

/// Brightness of a colour: 0.299 red + 0.587 green + 0.114 blue, in parts of 65,536 and rounded; grey stays as it is.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

/// Writes `[channels, height, width]` bytes as a PNG of 8 bits, grey for one channel and colour for three.
///
/// # Errors
/// [`DataError::Malformed`] if the shape is none of an image or has another number of pixels; [`DataError::File`] if
/// the file cannot be written.
pub fn write_png(path: &Path, shape: &[usize], pixels: &[u8]) -> Result<(), DataError> {
    let [channels, height, width] = image_shape(path, shape)?;
    let (Ok(png_height), Ok(png_width), true) =
        (u32::try_from(height), u32::try_from(width), shape.iter().product::<usize>() == pixels.len())
    else {
        let problem = format!("an image of {shape:?} cannot have {} pixels; give one byte each", pixels.len());
        return Err(DataError::malformed(path, problem));
    };
    let size = height * width;
    let interleaved = (0..size).flat_map(|pixel| (0..channels).map(move |channel| pixels[channel * size + pixel]));
    let interleaved: Vec<u8> = interleaved.collect();
    let kind = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut content = Vec::new();
    PngEncoder::new(&mut content)
        .write_image(&interleaved, png_width, png_height, kind)
        .map_err(|cause| DataError::malformed(path, format!("cannot be written ({cause}); choose another name")))?;
    Ok(files::write_output(path, &content)?)
}

/// The whole file, if it is an ordinary one and not too large.
fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |cause| DataError::io(path, cause);
    check_file_size(path)?;
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn check_file_size(path: &Path) -> Result<(), DataError> {
    let found = fs::metadata(path).map_err(|cause| DataError::io(path, cause))?;
    if !found.is_file() {
        return Err(DataError::malformed(path, "is not a file; give an image"));
    }
    if found.len() > LARGEST_FILE {
        return Err(DataError::malformed(path, "is larger than 1 GiB, too large for one image; make it smaller"));
    }
    Ok(())
}

/// The format that the first bytes tell, of those that are read.
fn format_of(input: &mut impl BufRead) -> io::Result<Option<ImageFormat>> {
    let format = image::guess_format(input.fill_buf()?).ok();
    Ok(format.filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg)))
}

/// Reads the head of an image, whose size may then be relied on.
fn decoder<'a>(
    input: impl BufRead + Seek + 'a,
    format: ImageFormat,
    path: &Path,
) -> Result<Box<dyn ImageDecoder + 'a>, DataError> {
    let failed = |cause| decoding_error(path, cause);
    let decoder: Box<dyn ImageDecoder + 'a> = if format == ImageFormat::Png {
        let decoder = PngDecoder::with_limits(input, Limits::default()).map_err(failed)?;
        // The frames of an animation may be smaller than the head says.
        if decoder.is_apng().map_err(failed)? {
            return Err(DataError::malformed(path, "is an animation; save one frame of it"));
        }
        Box::new(decoder)
    } else {
        Box::new(JpegDecoder::new(input).map_err(failed)?)
    };
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(DataError::malformed(path, format!("is an image without pixels; {MEND}")));
    }
    if width.max(height) > LONGEST_SIDE || u64::from(width) * u64::from(height) > MOST_PIXELS {
        let problem = format!(
            "is {width} x {height} pixels (width x height), the limits are {MOST_PIXELS} pixels and {LONGEST_SIDE} a side; \
             make it smaller"
        );
        return Err(DataError::malformed(path, problem));
    }
    Ok(decoder)
}

/// The planes of an image file with their shape.
fn decode(bytes: &[u8], path: &Path) -> Result<(Vec<u8>, [usize; 3]), DataError> {
    let failed = |cause| decoding_error(path, cause);
    let Some(format) = format_of(&mut &bytes[..]).map_err(|cause| DataError::io(path, cause))? else {
        return Err(no_image(path));
    };
    let decoder = decoder(Cursor::new(bytes), format, path)?;
    // The decoder fills what is missing with grey.
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err(DataError::malformed(path, format!("is cut off, the mark of its end is missing; {MEND}")));
    }
    let (width, height) = decoder.dimensions();
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let (channels, planes) = match &image {
        DynamicImage::ImageLuma8(image) => (1, planes::<_, 1>(image.as_raw(), false)),
        DynamicImage::ImageLumaA8(image) => (1, planes::<_, 1>(image.as_raw(), true)),
        DynamicImage::ImageRgb8(image) => (3, planes::<_, 3>(image.as_raw(), false)),
        DynamicImage::ImageRgba8(image) => (3, planes::<_, 3>(image.as_raw(), true)),
        DynamicImage::ImageLuma16(image) => (1, planes::<_, 1>(image.as_raw(), false)),
        DynamicImage::ImageLumaA16(image) => (1, planes::<_, 1>(image.as_raw(), true)),
        DynamicImage::ImageRgb16(image) => (3, planes::<_, 3>(image.as_raw(), false)),
        DynamicImage::ImageRgba16(image) => (3, planes::<_, 3>(image.as_raw(), true)),
        _ => return Err(DataError::malformed(path, "stores its pixels as real numbers; save it with 8 or 16 bits")),
    };
    let Some(planes) = planes else {
        let problem = "has its drawing in the transparency alone, and nothing of it is left over black; save it on a plain \
                       background";
        return Err(DataError::malformed(path, problem));
    };
    Ok((planes, [channels, height as usize, width as usize]))
}

/// Values of one pixel after another become planes of bytes, over black where the last value of each is its opacity;
/// `None` where the opacity varies and all that is left is black.
fn planes<T: Sample, const COLOURS: usize>(samples: &[T], has_opacity: bool) -> Option<Vec<u8>> {
    let pixels = samples.chunks_exact(COLOURS + usize::from(has_opacity));
    let mut planes = Vec::with_capacity(COLOURS * pixels.len());
    for colour in 0..COLOURS {
        planes.extend(pixels.clone().map(|pixel| {
            let value: u64 = pixel[colour].into();
            let opacity: u64 = if has_opacity { pixel[COLOURS].into() } else { T::HIGHEST };
            let over_black = rounded_quotient(value * opacity, T::HIGHEST);
            rounded_quotient(over_black * 255, T::HIGHEST) as u8
        }));
    }
    let mut opacities = pixels.filter_map(|pixel| pixel.get(COLOURS));
    let varies = opacities.next().is_some_and(|first| opacities.any(|other| other != first));
    (!varies || planes.iter().any(|value| *value > 0)).then_some(planes)
}

/// A value of a pixel as files store it.
trait Sample: Copy + PartialEq + Into<u64> {
    /// White, and opaque.
    const HIGHEST: u64;
}

impl Sample for u8 {
    const HIGHEST: u64 = 255;
}

impl Sample for u16 {
    const HIGHEST: u64 = 65_535;
}

/// a / b, halves upwards.
fn rounded_quotient(a: u64, b: u64) -> u64 {
    (a + b / 2) / b
}

fn no_image(path: &Path) -> DataError {
    DataError::malformed(path, "is no PNG or JPEG image; save it as one of these, or remove it")
}

/// Tells a damaged file from one that the system could not read.
fn decoding_error(path: &Path, cause: ImageError) -> DataError {
    match cause {
        ImageError::IoError(cause)
            if !matches!(
                cause.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other
            ) =>
        {
            DataError::io(path, cause)
        }
        other => {
            let cause = other.to_string().replace('\n', " ");
            DataError::malformed(path, format!("is a damaged image or of a kind that is not read ({cause}); {MEND}"))
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

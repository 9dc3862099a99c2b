//! Reader of IDX files, the format of MNIST and of the sets that followed it.
//!
//! An IDX file of bytes is a big-endian header and then the values, the last dimension running fastest:
//!
//! | bytes | content |
//! |---|---|
//! | 0, 1 | zero |
//! | 2 | type of the values; 0x08 is unsigned byte, the only one read here |
//! | 3 | number of dimensions: 1 for labels (count), 3 for grey images (count, height, width), |
//! |   | 4 for images with channels (count, channels, height, width) |
//! | 4 and on | the dimensions, four bytes each |
//!
//! A file may be compressed with gzip, in one member or several, with zeros after the last. Which it is shows in its
//! first two bytes, so the name does not matter. Nothing in the header is trusted: memory grows with what arrives, and
//! reading stops one byte past the promised end, so that neither a false header nor a gzip bomb takes more memory than
//! the file deserves.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::gzip::{GZIP_MAGIC, Members};
use super::role::{FileRole, magic_of};
use crate::data::report::shape_text;
use crate::data::{DataError, FileFormat};

/// The most bytes of values that a file may hold: 4 GiB.
const LARGEST: u64 = 4 << 30;

/// The content of one IDX file; `values` is as long as the product of `dims`.
#[derive(Debug)]
pub(super) struct IdxFile {
    pub(super) path: PathBuf,
    pub(super) role: FileRole,
    pub(super) format: FileFormat,
    pub(super) dims: Vec<usize>,
    pub(super) values: Vec<u8>,
    /// SHA-256 of header and values, decompressed, in lower-case hexadecimal digits.
    pub(super) sha256: String,
}

impl IdxFile {
    /// Shape of one image: `[channels, height, width]`.
    pub(super) fn shape(&self) -> Vec<usize> {
        match self.dims[1..] {
            [height, width] => vec![1, height, width],
            _ => self.dims[1..].to_vec(),
        }
    }
}

/// The first four bytes of a file, decompressed, as a big-endian number; `None` if there are none or it is no ordinary
/// file.
pub(super) fn magic(path: &Path) -> Option<u32> {
    if !path.is_file() {
        return None;
    }
    let mut input = BufReader::new(File::open(path).ok()?);
    let mut magic = [0; 4];
    if input.fill_buf().ok()?.starts_with(&GZIP_MAGIC) {
        Members::new(input).read_exact(&mut magic).ok()?;
    } else {
        input.read_exact(&mut magic).ok()?;
    }
    Some(u32::from_be_bytes(magic))
}

/// Reads a file from the disk.
pub(super) fn read_file(path: &Path, role: FileRole) -> Result<IdxFile, DataError> {
    let file = File::open(path).map_err(|cause| DataError::io(path, cause))?;
    read(BufReader::new(file), path, role)
}

/// Reads a file from anywhere; `path` is its name in error messages.
pub(super) fn read(mut input: impl BufRead, path: &Path, role: FileRole) -> Result<IdxFile, DataError> {
    let start = input.fill_buf().map_err(|cause| DataError::io(path, cause))?;
    if start.starts_with(&GZIP_MAGIC) {
        read_stream(Members::new(input), path, role, FileFormat::Gzip)
    } else {
        read_stream(input, path, role, FileFormat::Raw)
    }
}

/// Reads header and values from a decompressed stream.
fn read_stream(mut input: impl Read, path: &Path, role: FileRole, format: FileFormat) -> Result<IdxFile, DataError> {
    let mut read = |limit| read_up_to(&mut input, limit, path, format);

    let mut header = read(4)?;
    let rank = check_magic(&header, path, role)?;
    header.extend(read(4 * rank as u64)?);
    if header.len() < 4 + 4 * rank {
        return Err(short_header(&header, path, rank));
    }
    let dims: Vec<u32> =
        header[4..].chunks_exact(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect();
    let size = value_count(&dims, path)?;

    // One byte more than promised tells a file that is too long from one that is right.
    let mut values = read(size + 1)?;
    let found = values.len() as u64;
    if found != size {
        let extent = if found < size { format!("{found}") } else { "more".to_string() };
        let problem = format!(
            "holds {extent} where its header promises {size} bytes of {}; fetch or copy the file again",
            role.content()
        );
        return Err(DataError::malformed(path, problem));
    }
    values.shrink_to_fit();

    let sha256 = Sha256::new().chain_update(&header).chain_update(&values).finalize();
    Ok(IdxFile {
        path: path.to_path_buf(),
        role,
        format,
        dims: dims.into_iter().map(|dim| dim as usize).collect(),
        values,
        sha256: format!("{sha256:x}"),
    })
}

/// Reads `limit` bytes, or fewer if the stream ends before; the buffer grows as they arrive.
fn read_up_to(input: &mut impl Read, limit: u64, path: &Path, format: FileFormat) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    match input.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        // The decoder reports damage with these kinds; any other comes from the file system.
        Err(cause)
            if format == FileFormat::Gzip
                && matches!(
                    cause.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                ) =>
        {
            let problem = format!("is a damaged gzip file ({cause}); fetch or copy the file again");
            Err(DataError::malformed(path, problem))
        }
        Err(cause) => Err(DataError::io(path, cause)),
    }
}

/// The number of dimensions; refuses a file whose first four bytes are not those of an IDX file of bytes with the right
/// one.
fn check_magic(header: &[u8], path: &Path, role: FileRole) -> Result<usize, DataError> {
    let Ok(magic) = <[u8; 4]>::try_from(header) else {
        return Err(short_header(header, path, role.ranks()[0]));
    };
    let found = u32::from_be_bytes(magic);
    if let Some(&rank) = role.ranks().iter().find(|&&rank| magic_of(rank) == found) {
        return Ok(rank);
    }
    let expected: Vec<String> = role.ranks().iter().map(|&rank| format!("0x{:08x}", magic_of(rank))).collect();
    let what = match magic {
        [0, 0, 0x08, 3 | 4] => "it holds images; put the right file under this name",
        [0, 0, 0x08, 1] => "it holds labels; put the right file under this name",
        [0, 0, 0x08, _] => {
            "it has another number of dimensions; store images in three or, with channels, four, and labels in one"
        }
        [0, 0, 0x09 | 0x0b..=0x0e, _] => "its values are no unsigned bytes; store them as unsigned bytes",
        _ => "it is no IDX file; put the right file under this name",
    };
    let (expected, content) = (expected.join(" or "), role.content());
    let problem = format!("starts with 0x{found:08x}, expected {expected} for {content}: {what}");
    Err(DataError::malformed(path, problem))
}

/// The error for a file that ends inside its header.
fn short_header(header: &[u8], path: &Path, rank: usize) -> DataError {
    let problem = format!(
        "ends after {} bytes, inside the {} bytes of its header; fetch or copy the file again",
        header.len(),
        4 + 4 * rank
    );
    DataError::malformed(path, problem)
}

/// Number of values that `dims` promise; an error if there are none or more than [`LARGEST`].
fn value_count(dims: &[u32], path: &Path) -> Result<u64, DataError> {
    let size = dims.iter().try_fold(1u64, |size, &dim| size.checked_mul(dim.into()));
    let shape = shape_text(dims);
    match size {
        Some(0) => {
            let problem = format!("is empty: its header says {shape}; give a set with images");
            Err(DataError::malformed(path, problem))
        }
        Some(size) if size <= LARGEST && usize::try_from(size).is_ok() => Ok(size),
        _ => {
            let problem = format!("is too large: its header says {shape} bytes, the limit is {LARGEST}; split the set");
            Err(DataError::malformed(path, problem))
        }
    }
}

#[cfg(test)]
pub(in crate::data) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    /// An IDX file of bytes.
    pub(in crate::data) fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        for dim in dims {
            bytes.extend(dim.to_be_bytes());
        }
        bytes.extend(values);
        bytes
    }

    pub(in crate::data) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_images(bytes: &[u8]) -> Result<IdxFile, DataError> {
        read(bytes, Path::new("file"), FileRole::TrainImages)
    }

    fn refusal(bytes: &[u8]) -> String {
        let text = read_images(bytes).unwrap_err().to_string();
        assert!(text.starts_with("file: ") && !text.contains('\n'), "{text}");
        text
    }

    /// Two images of 2 x 3 pixels.
    fn small() -> Vec<u8> {
        idx(&[2, 2, 3], &[0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255])
    }

    #[test]
    fn reads_raw_and_gzip_alike() {
        let bytes = small();
        // Two members, cut inside the header.
        let members = [gzip(&bytes[..7]), gzip(&bytes[7..])].concat();
        let padded = [gzip(&bytes), vec![0; 512]].concat();
        for (stored, format) in [
            (bytes.clone(), FileFormat::Raw),
            (gzip(&bytes), FileFormat::Gzip),
            (members, FileFormat::Gzip),
            (padded, FileFormat::Gzip),
        ] {
            let file = read_images(&stored).unwrap();
            assert_eq!(file.format, format);
            assert_eq!(file.dims, [2, 2, 3]);
            assert_eq!(file.values, bytes[16..]);
            assert_eq!(file.sha256, format!("{:x}", Sha256::digest(&bytes)));
        }
    }

    #[test]
    fn images_may_have_channels() {
        let values: Vec<u8> = (0..12).collect();
        let file = read_images(&idx(&[2, 3, 2, 1], &values)).unwrap();
        assert_eq!((file.shape(), file.values), (vec![3, 2, 1], values));
        assert_eq!(read_images(&small()).unwrap().shape(), [1, 2, 3]);
        assert!(refusal(&idx(&[2, 3, 2, 1], &[0; 11])).contains("holds 11 where its header promises 12 bytes"));
        assert!(refusal(&idx(&[2, 3, 2, 1], &[])[..15]).contains("ends after 15 bytes, inside the 20 bytes"));
        let labels = read(&idx(&[1, 1, 1, 1], &[7])[..], Path::new("file"), FileRole::TestLabels).unwrap_err();
        assert!(labels.to_string().contains("expected 0x00000801 for labels: it holds images"));
    }

    #[test]
    fn refuses_a_file_that_ends_early() {
        let bytes = small();
        assert!(refusal(&[]).contains("ends after 0 bytes"));
        assert!(refusal(&bytes[..3]).contains("ends after 3 bytes"));
        assert!(refusal(&bytes[..15]).contains("ends after 15 bytes"));
        assert!(refusal(&bytes[..27]).contains("holds 11 where its header promises 12 bytes of images"));
        assert!(refusal(&gzip(&bytes[..15])).contains("ends after 15 bytes"));
        assert!(refusal(&gzip(&bytes[..27])).contains("holds 11 where"));
    }

    #[test]
    fn refuses_a_file_that_goes_on() {
        let bytes = [small(), vec![0]].concat();
        assert!(refusal(&bytes).contains("holds more where its header promises 12 bytes"));
        assert!(refusal(&gzip(&bytes)).contains("holds more where its header promises 12 bytes"));
        // Only zeros outside the compressed data are padding.
        assert!(refusal(&[small(), vec![0; 512]].concat()).contains("holds more where"));
    }

    #[test]
    fn names_the_magic_found_and_expected() {
        let labels = refusal(&idx(&[2], &[0, 1]));
        assert!(labels.contains("starts with 0x00000801, expected 0x00000803"));
        assert!(labels.contains("it holds labels"));
        assert!(refusal(b"<!DOCTYPE html>").contains("0x3c21444f"));
        let floats = [&[0, 0, 0x0d, 3], &small()[4..]].concat();
        let floats = refusal(&floats);
        assert!(floats.contains("0x00000d03") && floats.contains("no unsigned bytes"));
        assert!(refusal(&idx(&[2, 2, 2, 3, 1], &[0; 24])).contains("another number of dimensions"));
    }

    #[test]
    fn refuses_sizes_that_make_no_sense() {
        assert!(refusal(&idx(&[0, 28, 28], &[])).contains("is empty: its header says 0 x 28 x 28"));
        assert!(refusal(&idx(&[5, 0, 28], &[])).contains("is empty"));
        // 2^33 bytes, and a product beyond 64 bits.
        assert!(refusal(&idx(&[1 << 13, 1 << 10, 1 << 10], &[])).contains("is too large"));
        assert!(refusal(&idx(&[u32::MAX; 3], &[])).contains("is too large"));
        // Just within the limit: nothing is allocated for what does not come.
        assert!(refusal(&idx(&[1 << 12, 1 << 10, 1 << 10], &[7])).contains("holds 1 where"));
    }

    #[test]
    fn refuses_damaged_gzip() {
        let good = gzip(&small());
        assert!(refusal(&good[..good.len() - 1]).contains("damaged gzip"));
        assert!(refusal(&good[..12]).contains("damaged gzip"));
        assert!(refusal(&[&good[..], b"garbage"].concat()).contains("damaged gzip"));
        let mut checksum = good.clone();
        let position = good.len() - 8;
        checksum[position] ^= 1;
        assert!(refusal(&checksum).contains("damaged gzip"));
    }

    #[test]
    fn stops_at_the_promised_end_of_a_gzip_bomb() {
        /// Counts the bytes taken from the compressed file.
        struct Counted<'a>(&'a [u8], &'a mut usize);
        impl Read for Counted<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let count = self.0.read(into)?;
                *self.1 += count;
                Ok(count)
            }
        }
        let mut bomb = gzip(&small());
        let zeros = gzip(&vec![0; 1 << 20]);
        for _ in 0..64 {
            bomb.extend(&zeros);
        }
        let mut taken = 0;
        let input = BufReader::with_capacity(64, Counted(&bomb, &mut taken));
        let error = read(input, Path::new("file"), FileRole::TrainImages).unwrap_err();
        assert!(error.to_string().contains("holds more where its header promises 12 bytes"));
        assert!(taken < 1024, "{taken} compressed bytes were read");
    }

    #[test]
    fn tells_the_kind_of_a_file_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(magic(&path), None);
        assert_eq!(magic(folder.path()), None);
        for (content, expected) in [
            (small(), Some(0x0803)),
            (gzip(&small()), Some(0x0803)),
            (idx(&[1], &[7]), Some(0x0801)),
            (b"\x89PNG\r\n".to_vec(), Some(0x8950_4e47)),
            (gzip(&[0; 3]), None),
            (gzip(&small())[..9].to_vec(), None),
            (Vec::new(), None),
        ] {
            std::fs::write(&path, &content).unwrap();
            assert_eq!(magic(&path), expected, "{content:?}");
        }
    }

    /// Damages `bytes`: changes some, cuts the end off, or appends.
    fn damage(mut bytes: Vec<u8>, flips: &[(usize, u8)], length: usize, tail: &[u8]) -> Vec<u8> {
        for &(position, mask) in flips {
            let position = position % bytes.len();
            bytes[position] ^= mask;
        }
        bytes.truncate(length.max(1));
        bytes.extend(tail);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn damage_never_passes_for_data(
            flips in prop::collection::vec((any::<usize>(), any::<u8>()), 0..3),
            length in 0usize..200,
            tail in prop::collection::vec(any::<u8>(), 0..3),
        ) {
            let raw = damage(small(), &flips, length, &tail);
            if let Ok(file) = read_images(&raw) {
                // A raw file has no checksum: what is read must be exactly what is stored.
                let dims: Vec<u32> = file.dims.iter().map(|&dim| dim as u32).collect();
                prop_assert_eq!(idx(&dims, &file.values), raw);
            }
            let packed = damage(gzip(&small()), &flips, length, &tail);
            if let Ok(file) = read_images(&packed) {
                prop_assert_eq!(file.values, &small()[16..]);
            }
        }
    }
}

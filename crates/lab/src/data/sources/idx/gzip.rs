//! Decompression of gzip files that come from outside.

use std::io::{self, BufRead, ErrorKind, Read};

use flate2::bufread::GzDecoder;

/// The first two bytes of every gzip file.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The most zeros that may follow the last member: 1 MiB, far more than the blocks of a tape or a disk ask for.
const MOST_ZEROS: usize = 1 << 20;

/// So many members without content in a row are damage.
const MOST_EMPTY: usize = 1000;

/// The content of a gzip file: its members one after another.
///
/// Zeros after the last member are padding, as they are for the program gzip; anything else there is damage. However
/// much stands in the file, a read takes memory only for what it returns, and the bounds above end it where nothing
/// comes.
pub(super) struct Members<R> {
    /// The member that is read; `None` behind the last one.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        for _ in 0..=MOST_EMPTY {
            let Some(member) = &mut self.member else { return Ok(0) };
            let count = member.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            let ended = at_end(member.get_mut())?;
            self.member = self.member.take().filter(|_| !ended).map(|member| GzDecoder::new(member.into_inner()));
        }
        Err(damage("too many empty parts"))
    }
}

/// Whether a file ends behind a member, after zeros if need be; another member follows otherwise.
fn at_end(input: &mut impl BufRead) -> io::Result<bool> {
    let mut zeros = 0;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(true);
        }
        let count = buffer.iter().take_while(|byte| **byte == 0).count();
        if zeros + count == 0 {
            return Ok(false);
        }
        if count < buffer.len() {
            return Err(damage("data follow the zeros after its end"));
        }
        zeros += count;
        if zeros > MOST_ZEROS {
            return Err(damage("more than 1 MiB of zeros after its end"));
        }
        input.consume(count);
    }
}

/// The kind of error with which the decoder reports damage, too.
fn damage(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::super::file::tests::gzip;
    use super::*;

    fn content(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        // A small buffer: members and zeros go across its end.
        Members::new(BufReader::with_capacity(16, file)).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn zeros_after_the_end_are_padding() {
        let file = [gzip(b"images"), gzip(b" and labels")].concat();
        for zeros in [0, 1, 2, 15, 16, 17, 10_240, MOST_ZEROS] {
            assert_eq!(content(&[&file[..], &vec![0u8; zeros]].concat()).unwrap(), b"images and labels", "{zeros}");
        }
    }

    #[test]
    fn everything_else_after_the_end_is_damage() {
        let file = gzip(b"images");
        let late = [vec![0; 40], file.clone()].concat();
        for tail in [&b"garbage"[..], b"\x01", b"\0\0\x01", &late[..], &file[..9]] {
            assert!(content(&[&file[..], tail].concat()).is_err(), "{tail:?}");
        }
    }

    #[test]
    fn reading_ends_where_nothing_comes() {
        let file = gzip(b"images");
        let error = content(&[&file[..], &vec![0u8; MOST_ZEROS + 16]].concat()).unwrap_err();
        assert!(error.to_string().contains("more than 1 MiB of zeros"), "{error}");
        let empty = gzip(b"");
        let error = content(&[file.clone(), empty.repeat(MOST_EMPTY + 1)].concat()).unwrap_err();
        assert!(error.to_string().contains("too many empty parts"), "{error}");
        assert_eq!(content(&[file.clone(), empty.repeat(MOST_EMPTY / 2), file].concat()).unwrap(), b"imagesimages");
    }
}

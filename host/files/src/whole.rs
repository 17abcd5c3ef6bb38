//! Reading what a format says is there.

use std::io::{self, Read};

/// A reader for formats that say how much there is: beyond the end it gives an error, where others give nothing, so
/// that a file of a few bytes cannot have nothing read a billion times.
#[derive(Debug)]
pub struct Whole<R>(pub R);

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_end_there_is_an_error() {
        let (mut reader, mut three) = (Whole(&b"abc"[..]), [0; 3]);
        assert_eq!(reader.read(&mut three).unwrap(), 3);
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.read(&mut three).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(io::copy(&mut Whole(&b"abc"[..]).take(4), &mut io::sink()).is_err());
        assert_eq!(io::copy(&mut Whole(&b"abc"[..]).take(3), &mut io::sink()).unwrap(), 3);
    }
}

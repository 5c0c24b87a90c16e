//! A system identifier of its own for a copied data directory.
//!
//! PostgreSQL tells clusters apart by a number that `initdb` draws. It stands in the control file
//! (`src/include/catalog/pg_control.h`: first member, a CRC-32C of all before it last) and in the long header of each
//! log segment's first page (`src/include/access/xlog_internal.h`: `xlp_sysid`). Without renewing it, copies would pass
//! for replicas of one another.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Where `xlp_sysid` is in a segment.
const SEGMENT_OFFSET: u64 = 24;

/// Gives the data directory of a server that was never started a new system identifier.
pub(super) fn renew(data: &Path) -> io::Result<()> {
    // Positive when read as the server's bigint.
    let identifier = (rand::random::<u64>() >> 1).to_ne_bytes();
    let mut control = open(&data.join("global/pg_control"))?;
    let mut bytes = Vec::new();
    control.read_to_end(&mut bytes)?;
    let checked = checked_length(&bytes).ok_or_else(|| {
        io::Error::new(
            ErrorKind::InvalidData,
            "the control file has no checksum where one is expected",
        )
    })?;
    bytes[..8].copy_from_slice(&identifier);
    let checksum = crc32c(&bytes[..checked]).to_ne_bytes();
    bytes[checked..checked + 4].copy_from_slice(&checksum);
    control.rewind()?;
    control.write_all(&bytes)?;
    for segment in std::fs::read_dir(data.join("pg_wal"))? {
        let segment = segment?;
        let name = segment.file_name();
        if name.len() == 24 && segment.file_type()?.is_file() {
            let mut segment = open(&segment.path())?;
            segment.seek(SeekFrom::Start(SEGMENT_OFFSET))?;
            segment.write_all(&identifier)?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// How many bytes the checksum covers: its place differs between versions, but it is where it fits.
fn checked_length(control: &[u8]) -> Option<usize> {
    (8..control.len().min(1024).saturating_sub(3))
        .step_by(4)
        .find(|end| {
            let stored: Option<[u8; 4]> = control[*end..].first_chunk().copied();
            stored.is_some_and(|stored| u32::from_ne_bytes(stored) == crc32c(&control[..*end]))
        })
}

/// CRC-32C (Castagnoli), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}

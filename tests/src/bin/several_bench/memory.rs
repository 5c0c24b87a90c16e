//! What a router holds while a client is slow to read a large answer.

use std::time::Duration;

use ::tests::bench::cluster::Cluster;
use ::tests::bench::usage;
use ::tests::process::Failure;
use bytes::BytesMut;
use router::wire::encode;

/// The client rests when it has read so many messages.
const READ_AT_ONCE: usize = 4_000;

const REST: Duration = Duration::from_millis(50);

/// Resident memory of a router, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub before: u64,
    pub most: u64,
    pub after: u64,
    /// The size of the answer.
    pub answer: u64,
}

/// Streams the whole table, in order, to a client that reads slowly.
pub async fn measure(cluster: &Cluster) -> Result<Memory, Failure> {
    let pid = cluster.pid();
    let mut client = cluster.router.endpoint().client()?;
    let before = usage::resident_bytes(pid)?;
    let mut most = before;
    let mut answer = 0;
    let mut question = BytesMut::new();
    encode::query(&mut question, b"SELECT * FROM accounts ORDER BY id");
    client.send(&question)?;
    for number in 1.. {
        let message = client.receive()?;
        answer += message.body.len() as u64 + 5;
        match message.tag {
            b'E' => return Err(Failure(format!("{message:?}"))),
            b'Z' => break,
            _ => {}
        }
        if number % READ_AT_ONCE == 0 {
            tokio::time::sleep(REST).await;
            most = most.max(usage::resident_bytes(pid)?);
        }
    }
    Ok(Memory {
        before,
        most,
        after: usage::resident_bytes(pid)?,
        answer,
    })
}

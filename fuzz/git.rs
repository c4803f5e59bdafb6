//! The check of a request to git-upload-pack.

use crate_mirror::git::{
    FetchRequest, ObjectId, Packet, Packets, RequestError, RequestReader, acknowledged,
};

/// Whatever is sent to git-upload-pack is a request or is told what is wrong, the same in whatever pieces it comes; and what is said to it is made of packets.
///
/// The first byte of the input is the size of the pieces, and the rest is what is sent. Commits whose names begin with an even digit are known.
pub fn git_request(input: &[u8]) {
    let Some((size, sent)) = input.split_first() else {
        return;
    };
    let whole = understood(sent, sent.len().max(1));
    assert_eq!(whole, understood(sent, usize::from(*size).max(1)));
    let Ok(request) = whole else { return };
    assert!(!request.wants.is_empty());
    assert!(request.haves.known.iter().all(is_known));
    let (said, _) = acknowledged(&request);
    let mut packets = Packets::of(&said);
    let mut count = 0;
    while let Some(packet) = packets.next_whole().expect("packets") {
        let Packet::Data(line) = packet else {
            panic!("only lines are said");
        };
        assert!(line.starts_with(b"ACK ") || line == b"NAK\n");
        count += 1;
    }
    assert!(packets.rest().is_empty());
    assert!(count <= request.haves.known.len() + 3);
}

/// What a request is understood as.
pub fn understood(sent: &[u8], size: usize) -> Result<FetchRequest, RequestError> {
    let mut reader = RequestReader::new(is_known);
    for piece in sent.chunks(size) {
        reader.feed(piece)?;
    }
    reader.finish()
}

fn is_known(id: &ObjectId) -> bool {
    id.as_bytes()[0] & 0x10 == 0
}

//! Side bands: a pack, words about it, and an error, in one stream of packets (gitprotocol-capabilities(5), "side-band, side-band-64k").

use super::{packet, request::SideBand};

/// What a packet of a side band carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// The pack.
    Pack,
    /// Words that the client shows its user.
    Progress,
    /// What went wrong; nothing comes after it.
    Error,
}

impl Band {
    const fn number(self) -> u8 {
        match self {
            Self::Pack => 1,
            Self::Progress => 2,
            Self::Error => 3,
        }
    }
}

/// Adds `bytes` as they go out on a band, in as many packets as that takes. Without side bands there is the pack alone.
pub fn framed(out: &mut Vec<u8>, side_band: SideBand, band: Band, bytes: &[u8]) {
    let most = match side_band {
        // 1000 and 65520 with the length, less that and the number of the band.
        SideBand::Small => 995,
        SideBand::Large => packet::LONGEST - 1,
        SideBand::None => {
            if band == Band::Pack {
                out.extend_from_slice(bytes);
            }
            return;
        }
    };
    for part in bytes.chunks(most) {
        out.extend_from_slice(format!("{:04x}", part.len() + 5).as_bytes());
        out.push(band.number());
        out.extend_from_slice(part);
    }
}

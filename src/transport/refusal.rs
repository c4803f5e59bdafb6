//! Refusals: what clients are told who don't get as far as a request. They are written as HTTP/1.1, which everybody understands at first.

/// There are too many connections.
pub(super) fn too_many() -> String {
    refusal(
        "503 Service Unavailable\r\nretry-after: 1\r\nx-cache: miss",
        "This mirror has as many connections as `server.max_connections` allows; try again in a moment.\n",
    )
}

/// There is no memory for one more connection.
pub(super) fn no_memory() -> String {
    refusal(
        "503 Service Unavailable\r\nretry-after: 1\r\nx-cache: miss",
        "This mirror's memory is taken up by those who are connected; try again in a moment.\n",
    )
}

/// The client takes too long over a request's head.
pub(super) fn too_slow() -> String {
    refusal(
        "408 Request Timeout\r\nx-cache: absent",
        "The request didn't arrive in full within 30 seconds; try again.\n",
    )
}

/// The client speaks plain HTTP where TLS is spoken.
pub(super) fn wants_tls() -> String {
    refusal(
        "400 Bad Request\r\nx-cache: absent",
        "This port speaks TLS; use https:// instead of http://.\n",
    )
}

fn refusal(head: &str, sentence: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
         content-length: {}\r\n\r\n{sentence}",
        sentence.len()
    )
}

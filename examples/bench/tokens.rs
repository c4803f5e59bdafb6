//! What a token costs a hit: the same request to a mirror that anybody may ask and to one that wants a token, by the mirror's own CPU time, in turns.

use std::{fs, path::Path, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use crate_mirror::{
    access::{Grant, TokenDigest, TokenName, new_token, token_file},
    secret::Secret,
};
use serde::Serialize;

use crate::{
    Result,
    child::Child,
    load::{Aim, shoot},
    record::Recording,
    report::Report,
    servers::{Origin, Protocol, mirror},
    stats::Sample,
    tools::Bench,
};

/// So many tokens there are.
const TOKENS: usize = 1_000;

/// The CPU time of a request in microseconds, one figure for each turn.
#[derive(Serialize)]
pub(crate) struct TokenCost {
    pub(crate) what: String,
    /// Of who asks a mirror that anybody may ask.
    pub(crate) open: Sample,
    /// The same once more, in the same turn: by how much they differ is the noise.
    pub(crate) again: Sample,
    /// Of who asks with a token, where one is wanted.
    pub(crate) token: Sample,
}

impl TokenCost {
    /// How much more it takes with a token, turn by turn.
    pub(crate) fn more(&self) -> Sample {
        let open = self.open.0.iter().zip(&self.again.0);
        let open = open.map(|(one, other)| f64::midpoint(*one, *other));
        self.token.0.iter().zip(open).map(|(t, o)| t - o).collect()
    }

    /// By how much two requests differ that should take the same, turn by turn.
    pub(crate) fn noise(&self) -> Sample {
        let pairs = self.open.0.iter().zip(&self.again.0);
        pairs.map(|(one, other)| (one - other).abs()).collect()
    }
}

/// Measures what is wanted of it.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    let token = new_token().map_err(|e| e.to_string())?;
    let basic = BASE64_STANDARD.encode(format!("ci:{}", token.expose()));
    let forms = [
        ("a token as cargo sends it", token.expose().to_owned()),
        ("a token as a password", format!("Basic {basic}")),
    ];
    let mut wanted = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (form, value) in &forms {
            let what = format!("tokens: {form}, {}", protocol.name());
            if bench.wants(&what) {
                wanted.push((what, protocol, format!("authorization: {value}")));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let origin = Origin::start(bench, &recording.www).await?;
    let index = format!("sparse+http://{}/index/", origin.address());
    let (open, guarded) = (folder(bench, "open")?, folder(bench, "guarded")?);
    let access = access(&guarded, &token)?;
    let open = mirror(bench, &open, &open.join("store"), &index, "").await?;
    let guarded = mirror(bench, &guarded, &guarded.join("store"), &index, &access).await?;
    for (what, protocol, header) in wanted {
        let own = [header];
        let cost = measure(
            bench,
            &recording.small,
            what,
            protocol,
            &own,
            [&open, &guarded],
        );
        report.tokens.push(cost.await?);
    }
    Ok(())
}

/// Asks the first of two mirrors, the second with headers of its `own`, and the first again, turn after turn.
pub(crate) async fn measure(
    bench: &Bench,
    path: &str,
    what: String,
    protocol: Protocol,
    own: &[String],
    [open, guarded]: [&Child; 2],
) -> Result<TokenCost> {
    let mut cost = TokenCost {
        what,
        open: Sample::default(),
        again: Sample::default(),
        token: Sample::default(),
    };
    // Differences of a few hundredths want more turns than ratios do.
    for turn in 1..=bench.rounds * bench.pace.pick(4, 1) {
        eprintln!("turn {turn}: {}", cost.what);
        let cpu = async |server: &Child, headers: &[String]| {
            let url = format!("http://{}{path}", server.address());
            let aim = Aim {
                protocol,
                url: &url,
                headers,
                pid: server.pid(),
                size: 0,
            };
            Ok::<_, String>(shoot(bench, &aim).await?.map(|shot| shot.cpu_us))
        };
        cost.open.0.extend(cpu(open, &[]).await?);
        cost.token.0.extend(cpu(guarded, own).await?);
        cost.again.0.extend(cpu(open, &[]).await?);
    }
    Ok(cost)
}

/// A folder of this run's.
pub(crate) fn folder(bench: &Bench, name: &str) -> Result<std::path::PathBuf> {
    let folder = bench.folder.path().join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// A file with many tokens, this one among them, and the settings that name it.
fn access(folder: &Path, token: &Secret) -> Result<String> {
    let path = folder.join("tokens.toml");
    let grant = |digest| Grant {
        sha256: digest,
        expires: Some(SystemTime::now() + std::time::Duration::from_secs(24 * 3600)),
        registries: Vec::new(),
    };
    let added = token_file::change(&path, |tokens| {
        for n in 1..TOKENS {
            let name = TokenName::parse(&format!("token-{n}"))?;
            let other = new_token()?;
            tokens
                .tokens
                .insert(name, grant(TokenDigest::of(other.expose())));
        }
        let digest = TokenDigest::of(token.expose());
        tokens.tokens.insert(TokenName::parse("ci")?, grant(digest));
        Ok(())
    });
    added.map_err(|e| e.to_string())?;
    Ok(format!("[access]\ntokens = {path:?}\n"))
}

//! What bundles carry beside crates: gathered for an export, and put in place after an import.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::SystemTime,
};

use crate::{
    advisories::{self, Placed},
    bundle::{Attachment, AttachmentKind},
    config::{self, Config, Flags},
    error::{Error, Result},
};

/// The database of advisories that the settings name.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when they name none, or it can't be read.
pub(super) fn advisories(config: &Config, now: SystemTime) -> Result<Attachment> {
    let path = config.policy.advisories.path.as_ref().ok_or_else(|| {
        Error::config("--advisories: the settings name none; set `policy.advisories.path`")
    })?;
    let kind = AttachmentKind::Advisories;
    let packed = advisories::pack(&path.0, kind.largest(), now)?;
    Ok(Attachment {
        kind,
        bytes: packed.archive,
        as_of: Some(humantime::format_rfc3339_seconds(packed.as_of).to_string()),
    })
}

/// The rules that the settings have.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when they have none.
pub(super) fn policy(flags: &Flags) -> Result<Attachment> {
    let text = config::policy_text(flags)?.ok_or_else(|| {
        Error::config("--policy: the settings have neither `[policy]` nor `[views]`")
    })?;
    Ok(Attachment {
        kind: AttachmentKind::Policy,
        bytes: text.into_bytes(),
        as_of: None,
    })
}

/// Where a policy that comes is to be put.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings don't say.
pub(super) fn policy_file(config: &Config) -> Result<&Path> {
    let file = config.policy.file.as_ref().ok_or_else(|| {
        Error::config(
            "--with-policy: the settings don't say where the rules are to be put; set `policy.file`",
        )
    })?;
    Ok(&file.0)
}

/// Puts in place what came; of a policy only with leave. Gives what is to be said of it.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't be used here; what was in place stays.
pub(super) fn place(
    flags: &Flags,
    config: &Config,
    attachment: &Attachment,
    takes_policy: bool,
    now: SystemTime,
) -> Result<String> {
    match attachment.kind {
        AttachmentKind::Advisories => place_advisories(config, attachment, now),
        AttachmentKind::Policy if takes_policy => place_policy(flags, config, attachment),
        AttachmentKind::Policy => Ok(
            "the bundle has a policy, which is left out: it takes --require-signature and --with-policy".to_owned(),
        ),
    }
}

fn place_advisories(config: &Config, attachment: &Attachment, now: SystemTime) -> Result<String> {
    let Some(path) = &config.policy.advisories.path else {
        return Ok(
            "the bundle has advisories, which are left out: set `policy.advisories.path` to where they are to be put, such as advisories.tar.zst".to_owned(),
        );
    };
    let as_of = attachment.as_of.as_deref();
    let as_of = as_of.and_then(|text| humantime::parse_rfc3339(text).ok());
    let placed = advisories::place(&path.0, &attachment.bytes, as_of.unwrap_or(now), now)?;
    let path = path.0.display();
    Ok(match placed {
        Placed::Written(count) => format!("{count} advisories are in {path}"),
        Placed::Older => format!("the advisories in {path} are as new as those of the bundle"),
    })
}

fn place_policy(flags: &Flags, config: &Config, attachment: &Attachment) -> Result<String> {
    let path = policy_file(config)?;
    let unusable = |why: &str| {
        Error::config(format!(
            "the policy of the bundle can't be used here: {why}"
        ))
    };
    let text = std::str::from_utf8(&attachment.bytes)
        .map_err(|e| unusable("it is no text").with_source(e))?;
    config::load_with_policy(flags, text).map_err(|e| unusable(e.message()).with_source(e))?;
    replace(path, text.as_bytes()).map_err(|e| {
        let path = path.display();
        Error::store(format!("{path} can't be written: {e}")).with_source(e)
    })?;
    Ok(format!(
        "the rules are in {}; a mirror that runs takes them on SIGHUP",
        path.display()
    ))
}

/// Puts a file with this content in place of the one at `path`, in one step.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".policy")
        .tempfile_in(folder)?;
    file.write_all(content)?;
    let mode = fs::metadata(path).map_or(0o644, |meta| meta.permissions().mode());
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

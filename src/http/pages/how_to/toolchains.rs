//! How rustup takes its toolchains from the mirror, where it serves them.

use super::one_way::{Block, HowTo, Offering};

/// The two variables, and how a machine without rustup starts.
pub(super) fn toolchains(offering: Offering<'_>) -> Option<HowTo> {
    let Offering {
        mirror,
        base,
        authentication,
    } = offering;
    mirror.has_toolchains().then(|| {
        let powershell = format!(
            "$env:RUSTUP_DIST_SERVER=\"{base}/toolchains\"\n$env:RUSTUP_UPDATE_ROOT=\"{base}/toolchains/rustup\"\n"
        );
        let start = format!(
            "curl -fsSO {base}/toolchains/rustup/dist/x86_64-unknown-linux-gnu/rustup-init\nchmod +x rustup-init\n./rustup-init\n"
        );
        let sh = format!(
            "export RUSTUP_DIST_SERVER={base}/toolchains\nexport RUSTUP_UPDATE_ROOT={base}/toolchains/rustup\n"
        );
        let mut said = vec![
            "With these two variables rustup takes compilers, targets and itself from this mirror.".to_owned(),
            "A machine without rustup starts with the program that the last lines fetch; the name in the middle of its URL is the machine's target.".to_owned(),
        ];
        let mut text = format!(
            "For rustup, in a shell:\n\n{sh}\nin PowerShell:\n\n{powershell}\nand on a machine without rustup, whose target stands in the middle:\n\n{start}"
        );
        // rustup sends what stands in the URL, and nothing else.
        if let (true, Some((scheme, rest))) = (authentication.is_restricted(), base.split_once("://")) {
            let token = format!("Where a token is wanted for toolchains, it stands in each of these URLs: {scheme}://ci:TOKEN@{rest}/toolchains.");
            text.push_str(&format!("\n{token}\n"));
            said.push(token);
        }
        HowTo {
            title: "Toolchains",
            said,
            blocks: vec![
                Block {
                    place: "in a shell",
                    text: sh.clone(),
                },
                Block {
                    place: "in PowerShell",
                    text: powershell,
                },
                Block {
                    place: "in a shell, on a machine without rustup",
                    text: start,
                },
            ],
            text,
        }
    })
}

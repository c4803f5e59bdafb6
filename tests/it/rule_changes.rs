//! Rules that change while the mirror runs: they end by themselves, views vanish, other settings wait for the next start; and the log says each.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use crate::support::{Package, Program, Running, Upstream, client};

/// The day so many days from now.
fn day(from_now: i64) -> String {
    let span = Duration::from_secs(from_now.unsigned_abs() * 24 * 3600);
    let time = match from_now < 0 {
        true => SystemTime::now() - span,
        false => SystemTime::now() + span,
    };
    humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned()
}

async fn get(running: &Running, path: &str) -> client::Reply {
    client::get(running.addr(), path, &[]).await
}

/// Has it read settings that are `change`d from those it was started with, and waits until it has.
async fn reread(running: &mut Running, change: impl Fn(&str) -> String) {
    let toml = running.folder().join("mirror.toml");
    let before = fs::read_to_string(&toml).expect("settings");
    fs::write(&toml, change(&before)).expect("settings");
    running.signal("HUP").await;
    running
        .logged(|line| line.contains("the rules of the settings are in force"))
        .await;
}

const DOWNLOAD: &str = "/api/v1/crates/a/1.0.0/download";

#[tokio::test]
async fn the_log_says_which_rules_end_within_a_week_and_which_have_ended() {
    let upstream = Upstream::with_one_crate().await;
    let rule = |name: &str, until: &str| {
        format!(
            "[[policy.rules]]\nname = {name:?}\ncrates = [\"a\"]\naction = \"deny\"\nuntil = \"{until}\"\n"
        )
    };
    let (over, soon) = (day(-1), day(3));
    let rules = [
        rule("freeze", &over),
        rule("thaw", &soon),
        rule("winter", &day(30)),
    ];
    let mut running = Program::serving(&upstream, &rules.concat()).start().await;
    let is_warning = |line: &str, rule: &str| line.contains("WARN") && line.contains(rule);
    let line = running.logged(|line| is_warning(line, "freeze")).await;
    let said = format!("has ended: its `until` is {over}");
    assert!(line.contains(&said), "{line}");
    let line = running.logged(|line| is_warning(line, "thaw")).await;
    let said = format!("ends within a week: its `until` is {soon}");
    assert!(line.contains(&said), "{line}");
    assert_eq!(get(&running, DOWNLOAD).await.status, 403, "it hasn't yet");
    // What was said isn't said again when the rules are read again.
    reread(&mut running, |before| {
        before.replace("\"winter\"", "\"spring\"")
    })
    .await;
    running.signal("TERM").await;
    let ended = running.ended().await;
    for (rule, times) in [("freeze", 1), ("thaw", 1), ("winter", 0), ("spring", 0)] {
        let said = ended.stderr.lines().filter(|line| is_warning(line, rule));
        assert_eq!(said.count(), times, "{rule}: {}", ended.stderr);
    }
}

/// Whoever still has the URL of a view that is gone must not get what the view kept out.
#[tokio::test]
async fn a_view_that_vanishes_gives_nothing_any_more_also_of_what_is_in_memory() {
    let upstream = Upstream::with_one_crate().await;
    let view = "[views.lts]\ndefault = \"allow\"\n";
    let mut running = Program::serving(&upstream, view).start().await;
    let paths =
        ["/index/config.json", "/index/1/a", DOWNLOAD].map(|path| format!("/views/lts{path}"));
    for path in paths.iter().chain(&paths) {
        assert_eq!(get(&running, path).await.status, 200, "{path}");
    }
    reread(&mut running, |before| before.replace(view, "")).await;
    for (path, status) in paths.iter().zip([403; 3]) {
        let reply = get(&running, path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.text().contains("has no view lts"), "{}", reply.text());
    }
    assert_eq!(get(&running, "/index/1/a").await.status, 200);
    reread(&mut running, |before| format!("{before}{view}")).await;
    for path in &paths {
        assert_eq!(get(&running, path).await.status, 200, "{path}: it is back");
    }
}

/// It used to be found out at the next start that they had never counted.
#[tokio::test]
async fn a_change_of_other_settings_is_warned_of_and_one_of_rules_is_not() {
    const WARNING: &str = "other settings than `[policy]` and `[views]` have changed";
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .start()
        .await;
    let settings = "[freshness]\nfresh_for = \"1h\"\n[policy]\ncooldown = \"0s\"\n";
    let mut running = Program::serving(&upstream, settings).start().await;
    let rules = |before: &str| before.replace("\"0s\"", "\"1s\"");
    reread(&mut running, rules).await;
    reread(&mut running, |before| {
        format!("{before}[views.lts]\ncooldown = \"1d\"\n")
    })
    .await;
    // Nothing was said until here: this line would come first.
    let toml = running.folder().join("mirror.toml");
    let before = fs::read_to_string(&toml).expect("settings");
    fs::write(&toml, before.replace("\"1h\"", "\"2h\"")).expect("settings");
    running.signal("HUP").await;
    let line = running.logged(|line| line.contains(WARNING)).await;
    assert!(line.contains("WARN"), "{line}");
    running
        .logged(|line| line.contains("the rules of the settings are in force"))
        .await;
    running.signal("TERM").await;
    let ended = running.ended().await;
    let said = ended.stderr.matches(WARNING).count();
    assert_eq!(said, 1, "{}", ended.stderr);
}

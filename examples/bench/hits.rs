//! Hits: every row and protocol, the servers taking turns within each round.

use serde::Serialize;

use crate::{
    Result,
    load::{Aim, shoot},
    proc,
    record::Recording,
    report::Report,
    rows::{Form, Row, rows},
    servers::{Protocol, Server, Servers},
    stats::Sample,
    tools::Bench,
};

/// One row over one protocol.
#[derive(Serialize)]
pub(crate) struct Hit {
    pub(crate) row: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) cells: Vec<Cell>,
}

/// What one server did there.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) server: Server,
    pub(crate) requests_per_second: Sample,
    /// The server's own CPU time a request.
    pub(crate) cpu_us: Sample,
    pub(crate) p99_us: Sample,
}

/// The most memory that a server had at the end of all rows.
#[derive(Serialize)]
pub(crate) struct Peak {
    pub(crate) server: &'static str,
    pub(crate) bytes: u64,
}

impl Hit {
    /// What that server did.
    pub(crate) fn cell(&self, server: Server) -> Option<&Cell> {
        let cell = self.cells.iter().find(|cell| cell.server == server);
        cell.filter(|cell| !cell.requests_per_second.is_empty())
    }

    /// How many times as many requests a second the mirror answers as `other`, and how many times as much CPU time a request `other` takes.
    pub(crate) fn ratios(&self, other: Server) -> Option<(Sample, Sample)> {
        let (ours, theirs) = (self.cell(Server::Mirror)?, self.cell(other)?);
        Some((
            ours.requests_per_second.over(&theirs.requests_per_second),
            theirs.cpu_us.over(&ours.cpu_us),
        ))
    }
}

/// A row and a protocol, ready to be measured.
struct Plan {
    row: Row,
    protocol: Protocol,
    targets: Vec<Target>,
}

struct Target {
    server: Server,
    url: String,
    headers: Vec<String>,
    pid: u32,
}

/// Measures what is wanted of the hits.
pub(crate) async fn run(bench: &Bench, recording: &Recording, report: &mut Report) -> Result<()> {
    let wanted = |row: &Row, protocol: Protocol| {
        bench.wants(&format!("hits: {}, {}", row.name, protocol.name()))
    };
    let rows = rows(recording, bench.pace).into_iter();
    let mut chosen: Vec<(Row, Vec<Protocol>)> = rows
        .map(|row| {
            let protocols = Protocol::ALL.into_iter();
            let protocols = protocols.filter(|p| row.is_asked_over(*p) && wanted(&row, *p));
            let protocols = protocols.collect();
            (row, protocols)
        })
        .collect();
    chosen.retain(|(_, protocols)| !protocols.is_empty());
    if chosen.is_empty() {
        return Ok(());
    }
    let servers = Servers::start(bench, &recording.www).await?;
    let mut plans = Vec::new();
    for (row, protocols) in chosen {
        for protocol in protocols {
            plans.push(plan(&servers, row.clone(), protocol).await?);
        }
    }
    report.hits = measure(bench, &plans).await?;
    report.peaks = peaks(&servers);
    Ok(())
}

async fn plan(servers: &Servers, row: Row, protocol: Protocol) -> Result<Plan> {
    let mut targets = Vec::new();
    for server in Server::ALL
        .into_iter()
        .filter(|server| row.concerns(*server))
    {
        let Some((address, pid)) = servers.find(server, protocol) else {
            continue;
        };
        let base = format!("{}://{address}", protocol.scheme());
        targets.push(Target {
            server,
            headers: row.prepare(&base, protocol, server).await?,
            url: format!("{base}{}", row.path),
            pid,
        });
    }
    Ok(Plan {
        row,
        protocol,
        targets,
    })
}

async fn measure(bench: &Bench, plans: &[Plan]) -> Result<Vec<Hit>> {
    let mut hits: Vec<Hit> = plans.iter().map(empty).collect();
    for round in 1..=bench.rounds {
        for (plan, hit) in plans.iter().zip(&mut hits) {
            let (row, protocol) = (plan.row.name, plan.protocol.name());
            eprintln!("round {round} of {}: {row} over {protocol}", bench.rounds);
            for (target, cell) in plan.targets.iter().zip(&mut hit.cells) {
                let aim = Aim {
                    protocol: plan.protocol,
                    url: &target.url,
                    headers: &target.headers,
                    pid: target.pid,
                    size: match plan.row.form {
                        Form::Identity => plan.row.size,
                        Form::Gzip | Form::Unchanged => 0,
                    },
                };
                if let Some(shot) = shoot(bench, &aim).await? {
                    cell.requests_per_second.0.push(shot.requests_per_second);
                    cell.cpu_us.0.push(shot.cpu_us);
                    cell.p99_us.0.extend(shot.p99_us);
                }
            }
        }
    }
    Ok(hits)
}

fn empty(plan: &Plan) -> Hit {
    let cell = |target: &Target| Cell {
        server: target.server,
        requests_per_second: Sample::default(),
        cpu_us: Sample::default(),
        p99_us: Sample::default(),
    };
    Hit {
        row: plan.row.name,
        protocol: plan.protocol,
        cells: plan.targets.iter().map(cell).collect(),
    }
}

fn peaks(servers: &Servers) -> Vec<Peak> {
    let peak = |server, pid| Peak {
        server,
        bytes: proc::peak_memory(pid),
    };
    let mut peaks = vec![peak("mirror", servers.mirror.pid())];
    if let Some(nginx) = &servers.nginx {
        peaks.push(peak("nginx, all its processes and servers", nginx.pid()));
    }
    peaks.push(peak("bare hyper", servers.floor.pid()));
    peaks
}

//! Requests per second of an authenticated `GET /projects`, beside an empty axum route; both under wrk.

use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use super::Setup;
use crate::http::{Connection, request};
use crate::servers::{Rdev, Server, free_port};
use crate::stats::median;
use crate::table::{Report, Row, short};

pub(super) async fn run(setup: &Setup, report: &mut Report) -> anyhow::Result<()> {
    let rdev = Rdev::start(&setup.rdev, &setup.folder.join("requests")).await?;
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["empty-route", "--port", &port.to_string()]);
    let mut empty = Server::start(command, port, &setup.folder.join("empty-route.log"))?;
    empty.ready("/").await?;

    let bearer = format!("Bearer {}", rdev.key);
    let seconds = setup.size([3, 1, 1]);
    let load = async |port: u16, path: &str| match setup.has_peers() {
        true => wrk(&format!("http://127.0.0.1:{port}{path}"), &bearer, seconds),
        false => one_by_one(port, path, &bearer).await,
    };
    let (mut ours, mut floor, mut health, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    load(rdev.server.port, "/projects").await?;
    for _ in 0..setup.size([5, 1, 1]) {
        let theirs = load(port, "/").await?;
        let own = load(rdev.server.port, "/projects").await?;
        health.push(load(rdev.server.port, "/health").await?);
        ratios.push(own / theirs);
        ours.push(own);
        floor.push(theirs);
    }
    let ratio = median(&ratios);
    report.row(Row {
        axis: "GET /projects with a key, requests/s".into(),
        rdev: short(median(&ours)),
        peer: format!("empty axum route {}", short(median(&floor))),
        ratio: format!("{ratio:.2}"),
        aim: ">= 0.65",
        met: Some(ratio >= 0.65),
    });
    report.fact(format!("requests: GET /health, without a key: {} a second", short(median(&health))));
    Ok(())
}

/// Requests without wrk.
const ONE_BY_ONE: u32 = 200;

/// Returns requests per second over one connection, for a smoke test without wrk.
async fn one_by_one(port: u16, path: &str, bearer: &str) -> anyhow::Result<f64> {
    let get = request("GET", path, &[("Authorization", bearer)], "");
    let mut connection = Connection::open(port).await?;
    let began = Instant::now();
    for _ in 0..ONE_BY_ONE {
        let (status, body) = connection.call(&get).await?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(f64::from(ONE_BY_ONE) / began.elapsed().as_secs_f64())
}

/// Returns requests per second. Any answer other than 2xx is a failure.
fn wrk(url: &str, bearer: &str, seconds: u32) -> anyhow::Result<f64> {
    let (duration, header) = (format!("-d{seconds}s"), format!("Authorization: {bearer}"));
    let output = Command::new("wrk").args(["-t1", "-c32", &duration, "-H", &header, url]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk {url}: {text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    line.context("no Requests/sec in wrk's report")?.trim().parse().map_err(Into::into)
}

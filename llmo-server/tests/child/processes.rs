//! The process itself: it never outlives whoever needs it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use llmo_backends::sim::SimOptions;
use llmo_server::services::model::child::{ChildModel, Spec};
use rustix::process::Signal;

use crate::subject::{answered, ask, exists, kill, options, pid, running, send, sim};
use crate::support::{eventually, within};

#[tokio::test]
async fn dropping_the_model_ends_its_process_and_leaves_no_zombie() {
    let model = sim(|_, _| {}).await;
    let id = pid(&*model).unwrap();
    assert!(exists(id));
    drop(model);
    eventually("the process is gone", || !exists(id)).await;
}

#[tokio::test]
async fn the_process_lives_as_long_as_its_streams() {
    let model = sim(|sim, _| sim.answer_tokens = 20).await;
    let id = pid(&*model).unwrap();
    let mut stream = running(&*model, ask("x")).await;
    drop(model);
    let mut events = 1;
    while let Some(event) = within(stream.next()).await {
        event.unwrap();
        events += 1;
    }
    assert_eq!(events, 21);
    drop(stream);
    eventually("the process is gone", || !exists(id)).await;
}

#[tokio::test]
async fn dead_processes_are_no_zombies() {
    let model = sim(|_, _| {}).await;
    let id = pid(&*model).unwrap();
    kill(&model, Signal::ABORT).await;
    eventually("the process is gone", || !exists(id)).await;
}

#[tokio::test]
async fn an_engine_asks_for_memory_in_large_pages() {
    let model = sim(|_, _| {}).await;
    let environment = std::fs::read(format!("/proc/{}/environ", pid(&*model).unwrap())).unwrap();
    let tunables = environment.split(|&byte| byte == 0).find(|variable| variable.starts_with(b"GLIBC_TUNABLES="));
    let tunables = String::from_utf8_lossy(tunables.unwrap_or_default());
    assert!(tunables.contains("glibc.malloc.hugetlb="), "{tunables:?}");
}

#[tokio::test]
async fn signals_for_the_whole_service_do_not_end_the_engine() {
    let model = sim(|_, _| {}).await;
    let id = pid(&*model).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        send(id, signal);
    }
    assert_eq!(answered(&*model, ask("x").max_tokens(5)).await.unwrap(), 5);
    assert_eq!(pid(&*model), Some(id));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_takes_the_engine_first() {
    let model = sim(|_, _| {}).await;
    let score = |id: &str| {
        let score = std::fs::read_to_string(format!("/proc/{id}/oom_score_adj")).unwrap();
        score.trim().parse::<i32>().unwrap()
    };
    assert!(score(&pid(&*model).unwrap().to_string()) > score("self"));
}

#[tokio::test]
async fn a_program_that_is_no_engine_is_an_error() {
    for (program, arguments) in [("/bin/true", vec![]), ("/no/such/program", vec![]), ("/bin/sleep", vec!["60".into()])]
    {
        let mut options = options();
        options.program = program.into();
        options.arguments = arguments;
        options.silence = Duration::from_millis(300);
        let error = within(ChildModel::load(Spec::Sim(SimOptions::named("sim")), options)).await.unwrap_err();
        assert!(error.to_string().contains("process"), "{program}: {error}");
    }
}

#[test]
fn an_engine_can_not_be_started_by_hand() {
    let output = Command::new(env!("CARGO_BIN_EXE_llmo-server")).arg("engine").stdin(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
}

/// Run by the next test in a process of its own: a service that loads a model, says its engine's id, and waits.
#[tokio::test]
#[ignore = "run by kill_9_of_the_service_leaves_no_engine"]
async fn a_service_that_waits_to_be_killed() {
    let model = sim(|_, _| {}).await;
    println!("engine {}", pid(&*model).unwrap());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn kill_9_of_the_service_leaves_no_engine() {
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "processes::a_service_that_waits_to_be_killed"])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let line = lines.map_while(Result::ok).find(|line| line.contains("engine ")).unwrap();
    let engine = line.split("engine ").nth(1).unwrap().trim().parse().unwrap();
    assert!(exists(engine));
    service.kill().unwrap();
    service.wait().unwrap();
    eventually("the engine is gone", || !exists(engine) || is_zombie(engine)).await;
}

/// An orphan belongs to the init process, which may take its time to bury it.
fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

//! The coordinator, input by input. Each line: an input, and the actions that follow.
//!
//! Participants are written `1w 2l 3r`: shard and access (write, lock, read; `t`: wrote, and cannot be prepared).

#![allow(clippy::unwrap_used, reason = "a test that cannot be read fails")]

use catalog::{ClusterId, ShardId};
use txn::coordinator::{Action, Input};
use txn::outcome::{Failure, Outcome};
use txn::sql::Command;
use txn::{
    Access, Completion, Coordinator, Decision, GidSequence, Participant, ProofKey, Request,
    RouterId, ServerError,
};

#[track_caller]
fn check(participants: &str, steps: &[(&str, &str)]) {
    let (serializable, participants) = match participants.strip_prefix("serializable ") {
        Some(rest) => (true, rest),
        None => (false, participants),
    };
    let participants: Vec<Participant> = participants.split_whitespace().map(participant).collect();
    let gids = GidSequence::new(ClusterId([1; 16]), RouterId(1), ProofKey([0; 32]));
    let request = Request::new(&participants, serializable, &gids).unwrap();
    let mut actions = Vec::new();
    let mut machine = Coordinator::Done;
    for (index, (input, expected)) in steps.iter().enumerate() {
        machine = match index {
            0 => Coordinator::start(request.clone(), &mut actions),
            _ => machine.step(parse(input), &mut actions),
        };
        let text: Vec<String> = actions.drain(..).map(describe).collect();
        assert_eq!(text.join(", "), *expected, "after step {index}, {input:?}");
    }
    assert!(machine.is_done(), "still {}", machine.phase());
}

#[test]
fn two_writers() {
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("2 prepared 731", "1: decide 2=731"),
            ("1 done", "release 1, 2: commit prepared"),
            ("2 done", "release 2, committed"),
        ],
    );
}

#[test]
fn every_role() {
    check(
        "1w 2w 3l 4r",
        &[
            ("start", "2: prepare, 4: commit"),
            ("4 done", "release 4"),
            ("2 done", "1: decide 2"),
            ("1 done", "release 1, 2: commit prepared, 3: commit"),
            ("3 done", "release 3"),
            ("2 done", "release 2, committed"),
        ],
    );
}

#[test]
fn who_cannot_be_prepared_decides() {
    check(
        "1w 2t",
        &[
            ("start", "1: prepare"),
            ("1 done", "2: decide 1"),
            ("2 done", "release 2, 1: commit prepared"),
            ("1 done", "release 1, committed"),
        ],
    );
}

#[test]
fn one_writer() {
    check(
        "1r 2w 3l",
        &[
            ("start", "1: commit, 2: commit"),
            ("2 done", "release 2, 3: commit"),
            ("1 done", "release 1"),
            ("3 done", "release 3, committed"),
        ],
    );
    check(
        "1w 2r",
        &[
            ("start", "2: commit, 1: commit"),
            ("2 done", "release 2"),
            ("1 error 23505", "release 1, aborted 23505"),
        ],
    );
    // No row was inserted: nobody can tell.
    check(
        "1w 2r",
        &[
            ("start", "2: commit, 1: commit"),
            ("2 done", "release 2"),
            ("1 lost", "discard 1, unknown without gid"),
        ],
    );
    check(
        "1w 2l",
        &[
            ("start", "1: commit"),
            ("1 lost", "discard 1, 2: rollback"),
            ("2 rollback", "release 2, unknown without gid"),
        ],
    );
}

#[test]
fn nobody_wrote() {
    check(
        "1r 2l",
        &[
            ("start", "1: commit, 2: commit"),
            ("2 done", "release 2"),
            ("1 done", "release 1, committed"),
        ],
    );
    check(
        "1r 2r",
        &[
            ("start", "1: commit, 2: commit"),
            ("2 error 40001", "release 2"),
            ("1 done", "release 1, aborted 40001"),
        ],
    );
    check("", &[("start", "committed")]);
}

#[test]
fn serializable_readers_vote() {
    check(
        "serializable 1w 2r",
        &[
            ("start", "2: commit"),
            ("2 done", "release 2, 1: commit"),
            ("1 done", "release 1, committed"),
        ],
    );
    check(
        "serializable 1w 2r",
        &[
            ("start", "2: commit"),
            ("2 error 40001", "release 2, 1: rollback"),
            ("1 rollback", "release 1, aborted 40001"),
        ],
    );
    check(
        "serializable 1w 2w 3r",
        &[
            ("start", "2: prepare, 3: commit"),
            ("2 done", ""),
            (
                "3 error 40001",
                "release 3, 1: rollback, 2: rollback prepared",
            ),
            ("1 rollback", "release 1"),
            ("2 done", "release 2, aborted 40001"),
        ],
    );
    check(
        "serializable 1l 2w",
        &[
            ("start", "2: prepare"),
            ("2 done", "1: decide 2"),
            ("1 done", "release 1, 2: commit prepared"),
            ("2 done", "release 2, committed"),
        ],
    );
    // Elsewhere a reader's COMMIT tells nothing.
    check(
        "1w 2r",
        &[
            ("start", "2: commit, 1: commit"),
            ("2 lost", "discard 2"),
            ("1 done", "release 1, committed"),
        ],
    );
}

#[test]
fn a_vote_refused() {
    check(
        "1w 2w 3w",
        &[
            ("start", "2: prepare, 3: prepare"),
            ("2 error 53200", "2: rollback, 1: rollback"),
            ("3 done", "3: rollback prepared"),
            ("1 rollback", "release 1"),
            ("2 rollback", "release 2"),
            ("3 done", "release 3, aborted 53200"),
        ],
    );
    // The first refusal is the one told.
    check(
        "1w 2w 3w",
        &[
            ("start", "2: prepare, 3: prepare"),
            ("3 error 40001", "3: rollback, 1: rollback"),
            ("2 error 53200", "2: rollback"),
            ("1 rollback", "release 1"),
            ("3 rollback", "release 3"),
            ("2 rollback", "release 2, aborted 40001"),
        ],
    );
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("2 rollback", "release 2, 1: rollback"),
            ("1 rollback", "release 1, aborted 40000"),
        ],
    );
}

#[test]
fn recovery_was_first() {
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("2 done", "1: decide 2"),
            ("1 taken", "1: rollback, 2: rollback prepared"),
            ("1 rollback", "release 1"),
            ("2 error 42704", "release 2, aborted 40001"),
        ],
    );
}

#[test]
fn lost_before_its_vote() {
    check(
        "1w 2w 3w",
        &[
            ("start", "2: prepare, 3: prepare"),
            ("3 done", ""),
            (
                "2 lost",
                "leave 2, discard 2, 1: rollback, 3: rollback prepared",
            ),
            ("3 lost", "leave 3, discard 3"),
            ("1 rollback", "release 1, aborted 08006"),
        ],
    );
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("1 fatal", "discard 1"),
            ("2 done", "2: rollback prepared"),
            ("2 done", "release 2, aborted 08006"),
        ],
    );
    check(
        "1w 2w 3l",
        &[
            ("start", "2: prepare"),
            ("3 lost", "discard 3, 1: rollback"),
            ("2 done", "2: rollback prepared"),
            ("1 lost", "discard 1"),
            ("2 done", "release 2, aborted 08006"),
        ],
    );
}

#[test]
fn lost_after_its_vote() {
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("2 done", "1: decide 2"),
            ("2 lost", "discard 2"),
            ("1 done", "release 1, leave 2, committed, unfinished 2"),
        ],
    );
}

#[test]
fn the_decisive_commit_refused() {
    check(
        "1w 2w 3l",
        &[
            ("start", "2: prepare"),
            ("2 done", "1: decide 2"),
            // A deferred unique constraint of the user's, not the decision's key.
            (
                "1 error 23505",
                "1: rollback, 2: rollback prepared, 3: rollback",
            ),
            ("1 rollback", "release 1"),
            ("2 done", "release 2"),
            ("3 rollback", "release 3, aborted 23505"),
        ],
    );
}

#[test]
fn the_decisive_commit_lost() {
    let begin = [
        ("start", "2: prepare"),
        ("2 done", "1: decide 2"),
        ("1 lost", "discard 1, resolve 1 attempt 1"),
    ];
    let check = |rest: &[(&'static str, &'static str)]| check("1w 2w", &[&begin, rest].concat());
    check(&[
        ("resolved commit", "2: commit prepared"),
        ("2 done", "release 2, committed"),
    ]);
    check(&[
        ("resolved abort", "2: rollback prepared"),
        ("2 done", "release 2, aborted 08006"),
    ]);
    check(&[
        ("resolved none", "resolve 1 attempt 2"),
        ("2 lost", "discard 2"),
        ("resolved commit", "leave 2, committed, unfinished 2"),
    ]);
    check(&[
        ("resolved none", "resolve 1 attempt 2"),
        ("deadline", "leave 2, release 2, unknown with gid"),
        ("resolved abort", ""),
    ]);
}

#[test]
fn after_the_decision_the_answer_is_commit() {
    let begin = [
        ("start", "2: prepare, 3: prepare"),
        ("2 done", ""),
        ("3 prepared 7", "1: decide 2 3=7"),
        (
            "1 done",
            "release 1, 2: commit prepared, 3: commit prepared",
        ),
    ];
    let check = |rest: &[(&'static str, &'static str)]| check("1w 2w 3w", &[&begin, rest].concat());
    // Recovery was first; busy; gone.
    check(&[
        ("2 error 42704", "release 2"),
        ("3 done", "release 3, committed"),
    ]);
    check(&[
        ("2 error 55000", "leave 2, release 2"),
        ("3 fatal", "leave 3, discard 3, committed, unfinished 2 3"),
    ]);
    check(&[
        ("2 done", "release 2"),
        ("deadline", "leave 3, discard 3, committed, unfinished 3"),
        ("3 done", ""),
    ]);
}

#[test]
fn deadlines() {
    check(
        "1w 2w 3w 4l",
        &[
            ("start", "2: prepare, 3: prepare"),
            ("3 done", ""),
            (
                "deadline",
                "leave 2, discard 2, 1: rollback, 3: rollback prepared, 4: rollback",
            ),
            ("4 rollback", "release 4"),
            ("1 rollback", "release 1"),
            ("deadline", "leave 3, discard 3, aborted 08006"),
        ],
    );
    check(
        "1w 2w",
        &[
            ("start", "2: prepare"),
            ("2 done", "1: decide 2"),
            ("deadline", "discard 1, resolve 1 attempt 1"),
            ("deadline", "leave 2, release 2, unknown with gid"),
        ],
    );
    check(
        "1w 2l",
        &[
            ("start", "1: commit"),
            ("deadline", "discard 1, 2: rollback"),
            ("deadline", "discard 2, unknown without gid"),
        ],
    );
}

fn participant(text: &str) -> Participant {
    let (shard, access) = text.split_at(text.len() - 1);
    let access_of = |letter| match letter {
        "w" | "t" => Access::Write,
        "l" => Access::Lock,
        _ => Access::Read,
    };
    Participant {
        shard: ShardId(shard.parse().unwrap()),
        access: access_of(access),
        preparable: access != "t",
    }
}

fn parse(input: &str) -> Input {
    let words: Vec<&str> = input.split_whitespace().collect();
    let failed = |code: &str, fatal, body: &[u8]| {
        Completion::Failed(ServerError {
            sqlstate: code.as_bytes().try_into().unwrap(),
            fatal,
            body: body.into(),
        })
    };
    let error = |code: &str, fatal| failed(code, fatal, b"");
    match words[..] {
        ["deadline"] => Input::DeadlinePassed,
        ["resolved", decision] => Input::Resolved {
            decision: Decision::parse(decision),
        },
        [shard, ref what @ ..] => {
            let completion = match what {
                ["done"] => Completion::Done,
                ["prepared", xid] => Completion::Prepared {
                    xid: Some(xid.parse().unwrap()),
                },
                ["taken"] => failed("23505", false, b"C23505\0spgweave\0tdecision\0\0"),
                ["rollback"] => Completion::of_tag("ROLLBACK"),
                ["lost"] => Completion::Lost,
                ["fatal"] => error("57P01", true),
                ["error", code] => error(code, false),
                _ => panic!("{input}"),
            };
            Input::Completed {
                shard: ShardId(shard.parse().unwrap()),
                completion,
            }
        }
        [] => panic!("empty input"),
    }
}

fn describe(action: Action) -> String {
    match action {
        Action::Send { shard, command } => {
            let command = match command {
                Command::Decide { participants, .. } => {
                    let parts = participants.iter().map(|(shard, xid)| match xid {
                        Some(xid) => format!(" {shard}={xid}"),
                        None => format!(" {shard}"),
                    });
                    format!("decide{}", parts.collect::<String>())
                }
                Command::Prepare(gid) if gid.shard == shard => "prepare".into(),
                Command::CommitPrepared(gid) if gid.shard == shard => "commit prepared".into(),
                Command::RollbackPrepared(gid) if gid.shard == shard => "rollback prepared".into(),
                Command::Commit => "commit".into(),
                Command::Rollback => "rollback".to_owned(),
                other => panic!("{other:?} for shard {shard}"),
            };
            format!("{shard}: {command}")
        }
        Action::Release { shard } => format!("release {shard}"),
        Action::Discard { shard } => format!("discard {shard}"),
        Action::Resolve { gid, attempt } => {
            format!("resolve {} attempt {attempt}", gid.coordinating)
        }
        Action::LeaveToRecovery { gid } => format!("leave {}", gid.shard),
        Action::Reply(Outcome::Committed { unfinished }) if unfinished.is_empty() => {
            "committed".into()
        }
        Action::Reply(Outcome::Committed { unfinished }) => {
            let shards: Vec<String> = unfinished.iter().map(ShardId::to_string).collect();
            format!("committed, unfinished {}", shards.join(" "))
        }
        Action::Reply(Outcome::Aborted(failure)) => {
            if let Failure::Own(error) = &failure {
                assert!(!error.to_string().is_empty());
            }
            format!("aborted {}", failure.sqlstate())
        }
        Action::Reply(outcome @ Outcome::Unknown { .. }) => {
            assert_eq!(outcome.sqlstate(), "08007");
            format!(
                "unknown {} gid",
                if outcome == (Outcome::Unknown { gid: None }) {
                    "without"
                } else {
                    "with"
                }
            )
        }
    }
}

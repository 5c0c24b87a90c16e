//! Recovery and collection, input by input. Chance is left to the simulation.

use std::collections::BTreeSet;

use catalog::{ClusterId, ShardId};
use txn::collection::{self, Collection};
use txn::decision::DecisionRow;
use txn::recovery::{Action, InDoubt, Input, PreparedRow, Reason, Recovery, Report, Scan};
use txn::{Completion, Decision, Gid, ParticipantGid, Pledge, RouterId, ServerError};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);
const THREE: ShardId = ShardId(3);

fn gid(sequence: u64) -> Gid {
    Gid {
        cluster: CLUSTER,
        router: RouterId(1),
        sequence,
        pledge: Pledge([0; 16]),
        coordinating: ONE,
    }
}

fn row(name: impl ToString, age_ms: u64) -> PreparedRow {
    PreparedRow {
        gid: name.to_string(),
        owner: "bob".into(),
        age_ms,
    }
}

fn scan(grace_ms: u64) -> Scan {
    Scan {
        cluster: CLUSTER,
        shards: vec![ONE, TWO, THREE],
        grace_ms,
        urgent: BTreeSet::new(),
    }
}

fn finish(gid: ParticipantGid, decision: Decision) -> Action {
    Action::Finish {
        gid,
        owner: "bob".into(),
        decision,
    }
}

fn error(code: &[u8; 5]) -> Completion {
    Completion::Failed(ServerError {
        sqlstate: *code,
        fatal: false,
        body: Box::default(),
    })
}

/// Feeds inputs, each with the actions expected of it.
fn check(scan: Scan, steps: Vec<(Input, Vec<Action>)>) {
    let mut actions = Vec::new();
    let mut machine = Recovery::start(scan.clone(), &mut actions);
    assert_eq!(
        actions,
        scan.shards
            .iter()
            .map(|&shard| Action::List { shard })
            .collect::<Vec<_>>()
    );
    for (input, expected) in steps {
        actions.clear();
        let described = format!("{input:?}");
        machine = machine.step(input, &mut actions);
        assert_eq!(actions, expected, "after {described}");
    }
    assert!(machine.is_done());
}

fn listed(shard: ShardId, rows: Vec<PreparedRow>) -> Input {
    Input::Listed {
        shard,
        rows: Some(rows),
    }
}

#[test]
fn one_question_for_all_participants() {
    let (on_two, on_three) = (gid(1).participant(TWO), gid(1).participant(THREE));
    check(
        scan(0),
        vec![
            (
                listed(TWO, vec![row(on_two, 5)]),
                vec![Action::Decide { gid: gid(1) }],
            ),
            (
                Input::Decided {
                    gid: gid(1),
                    decision: Some(Decision::Commit),
                },
                vec![finish(on_two, Decision::Commit)],
            ),
            (
                listed(THREE, vec![row(on_three, 5)]),
                vec![finish(on_three, Decision::Commit)],
            ),
            (
                Input::Finished {
                    gid: on_two,
                    completion: Completion::Done,
                },
                vec![],
            ),
            (listed(ONE, vec![]), vec![]),
            // The coordinator, or another pass, was first.
            (
                Input::Finished {
                    gid: on_three,
                    completion: error(b"42704"),
                },
                vec![Action::Report(Report {
                    committed: vec![on_two, on_three],
                    ..Report::default()
                })],
            ),
        ],
    );
}

#[test]
fn healthy_commits_are_left_alone() {
    let mut scan = scan(1000);
    scan.urgent.insert(gid(2));
    let urgent = gid(2).participant(TWO);
    check(
        scan,
        vec![
            (
                listed(TWO, vec![row(gid(1).participant(TWO), 999), row(urgent, 3)]),
                vec![Action::Decide { gid: gid(2) }],
            ),
            (listed(ONE, vec![]), vec![]),
            (listed(THREE, vec![]), vec![]),
            (
                Input::Decided {
                    gid: gid(2),
                    decision: Some(Decision::Abort),
                },
                vec![finish(urgent, Decision::Abort)],
            ),
            (
                Input::Finished {
                    gid: urgent,
                    completion: Completion::Done,
                },
                vec![Action::Report(Report {
                    rolled_back: vec![urgent],
                    ..Report::default()
                })],
            ),
        ],
    );
}

#[test]
fn foreign_names_are_left_alone() {
    let foreign = Gid {
        cluster: ClusterId([2; 16]),
        ..gid(1)
    };
    let rows = vec![
        row("citus_1_2", 9999),
        row(foreign.participant(TWO), 9999),
        row(gid(1).participant(THREE), 9999),
        row(gid(1), 9999),
    ];
    check(
        scan(0),
        vec![
            (listed(TWO, rows), vec![]),
            (listed(ONE, vec![]), vec![]),
            (
                listed(THREE, vec![]),
                vec![Action::Report(Report::default())],
            ),
        ],
    );
}

#[test]
fn without_an_answer_nothing_is_done() {
    let (busy, undecided) = (gid(1).participant(TWO), gid(2).participant(TWO));
    let homeless = Gid {
        coordinating: ShardId(9),
        ..gid(3)
    }
    .participant(TWO);
    let doubt = |gid, reason| InDoubt {
        gid,
        age_ms: 7,
        reason,
    };
    check(
        scan(0),
        vec![
            (
                listed(TWO, vec![row(busy, 7), row(undecided, 7), row(homeless, 7)]),
                vec![
                    Action::Decide { gid: gid(1) },
                    Action::Decide { gid: gid(2) },
                ],
            ),
            (
                Input::Listed {
                    shard: ONE,
                    rows: None,
                },
                vec![],
            ),
            (listed(THREE, vec![]), vec![]),
            (
                Input::Decided {
                    gid: gid(2),
                    decision: None,
                },
                vec![],
            ),
            (
                Input::Decided {
                    gid: gid(1),
                    decision: Some(Decision::Abort),
                },
                vec![finish(busy, Decision::Abort)],
            ),
            (
                Input::Finished {
                    gid: busy,
                    completion: error(b"55000"),
                },
                vec![Action::Report(Report {
                    in_doubt: vec![
                        doubt(homeless, Reason::UnknownShard),
                        doubt(undecided, Reason::NoDecision),
                        doubt(busy, Reason::NotFinished(Decision::Abort)),
                    ],
                    unlisted: vec![ONE],
                    ..Report::default()
                })],
            ),
        ],
    );
}

#[test]
fn a_pass_gives_up() {
    let (told, asked) = (gid(1).participant(TWO), gid(2).participant(TWO));
    check(
        scan(0),
        vec![
            (
                listed(TWO, vec![row(told, 7), row(asked, 7)]),
                vec![
                    Action::Decide { gid: gid(1) },
                    Action::Decide { gid: gid(2) },
                ],
            ),
            (
                Input::Decided {
                    gid: gid(1),
                    decision: Some(Decision::Commit),
                },
                vec![finish(told, Decision::Commit)],
            ),
            (
                Input::DeadlinePassed,
                vec![Action::Report(Report {
                    in_doubt: vec![
                        InDoubt {
                            gid: told,
                            age_ms: 7,
                            reason: Reason::NotFinished(Decision::Commit),
                        },
                        InDoubt {
                            gid: asked,
                            age_ms: 7,
                            reason: Reason::NoDecision,
                        },
                    ],
                    unlisted: vec![ONE, THREE],
                    ..Report::default()
                })],
            ),
            (
                Input::Finished {
                    gid: told,
                    completion: Completion::Done,
                },
                vec![],
            ),
        ],
    );
}

/// Which of these rows, all on shard 1, are deleted, when the shards list what is given; None: one that does not answer.
fn collected(rows: Vec<DecisionRow>, prepared: [Option<Vec<PreparedRow>>; 3]) -> Vec<u64> {
    let mut actions = Vec::new();
    let mut machine = Collection::start(CLUSTER, [ONE, TWO, THREE], &mut actions);
    machine = machine.step(
        collection::Input::Decisions {
            shard: TWO,
            rows: Some(vec![]),
        },
        &mut actions,
    );
    machine = machine.step(
        collection::Input::Decisions {
            shard: ONE,
            rows: Some(rows),
        },
        &mut actions,
    );
    assert_eq!(
        actions.len(),
        3,
        "prepared transactions are listed after all decisions"
    );
    machine = machine.step(
        collection::Input::Decisions {
            shard: THREE,
            rows: None,
        },
        &mut actions,
    );
    for (shard, rows) in [ONE, TWO, THREE].into_iter().zip(prepared) {
        machine = machine.step(collection::Input::Prepared { shard, rows }, &mut actions);
    }
    let deleted: Vec<Gid> = actions
        .iter()
        .flat_map(|action| match action {
            collection::Action::Delete { gids, .. } => gids.clone(),
            _ => Vec::new(),
        })
        .collect();
    if !deleted.is_empty() {
        machine = machine.step(
            collection::Input::Deleted {
                shard: ONE,
                succeeded: true,
            },
            &mut actions,
        );
        assert!(
            matches!(actions.last(), Some(collection::Action::Report(report)) if report.deleted == deleted.len())
        );
    }
    assert!(machine.is_done());
    deleted.iter().map(|gid| gid.sequence).collect()
}

#[test]
fn which_decisions_are_deleted() {
    let commit = |sequence, participants: &[ShardId]| DecisionRow {
        gid: gid(sequence),
        outcome: Decision::Commit,
        participants: participants.to_vec(),
        settled: false,
    };
    let abort = |sequence, settled| DecisionRow {
        gid: gid(sequence),
        outcome: Decision::Abort,
        participants: vec![],
        settled,
    };
    let none = || Some(vec![]);
    let rows = || {
        vec![
            commit(1, &[TWO]),
            commit(2, &[TWO, THREE]),
            commit(3, &[ShardId(9)]),
            abort(4, true),
            abort(5, false),
        ]
    };

    assert_eq!(collected(rows(), [none(), none(), none()]), [1, 2, 4]);
    // One shard does not answer: whatever may concern it stays.
    assert_eq!(collected(rows(), [none(), none(), None]), [1]);
    assert_eq!(collected(rows(), [None, none(), none()]), [1, 2]);
    // Still prepared.
    assert_eq!(
        collected(
            rows(),
            [none(), Some(vec![row(gid(2).participant(TWO), 1)]), none()]
        ),
        [1, 4]
    );
    assert_eq!(
        collected(
            rows(),
            [
                none(),
                none(),
                Some(vec![row(gid(4).participant(THREE), 1)])
            ]
        ),
        [1, 2]
    );
    // Rows that another shard or cluster coordinated are not this shard's to delete.
    let elsewhere = DecisionRow {
        gid: Gid {
            coordinating: TWO,
            ..gid(6)
        },
        ..commit(6, &[])
    };
    let foreign = DecisionRow {
        gid: Gid {
            cluster: ClusterId([2; 16]),
            ..gid(7)
        },
        ..commit(7, &[])
    };
    assert_eq!(
        collected(
            vec![elsewhere, foreign, commit(8, &[])],
            [none(), none(), none()]
        ),
        [8]
    );
}

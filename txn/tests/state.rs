//! A session's transaction, from BEGIN to its commit plan.

use catalog::ShardId;
use txn::state::{Setting, SettingScope};
use txn::{Access, CommitPlan, Error, Participant, Txn};

const ONE: ShardId = ShardId(1);
const TWO: ShardId = ShardId(2);

/// A transaction with a memory of what was sent.
#[derive(Default)]
struct Session {
    txn: Txn,
    sent: Vec<String>,
}

impl Session {
    fn begun() -> Self {
        Session {
            txn: Txn::Idle.begin(""),
            sent: Vec::new(),
        }
    }

    fn join(&mut self, shard: ShardId) -> &mut Self {
        self.sent.clear();
        self.txn = std::mem::take(&mut self.txn).join(shard, &mut self.sent);
        self
    }

    fn write(&mut self, shard: ShardId) -> &mut Self {
        self.join(shard);
        self.txn.note_access(shard, Access::Write);
        self
    }

    fn apply(
        &mut self,
        change: impl FnOnce(Txn) -> (Txn, Result<Vec<ShardId>, Error>),
    ) -> Result<Vec<ShardId>, Error> {
        let (next, result) = change(std::mem::take(&mut self.txn));
        self.txn = next;
        result
    }

    fn change(&mut self, change: impl FnOnce(Txn) -> Txn) {
        self.txn = change(std::mem::take(&mut self.txn));
    }

    fn savepoint(&mut self, name: &str) -> Result<Vec<ShardId>, Error> {
        self.apply(|txn| txn.savepoint(name))
    }

    fn rollback_to(&mut self, name: &str) -> Result<Vec<ShardId>, Error> {
        self.apply(|txn| txn.rollback_to(name))
    }

    fn release(&mut self, name: &str) -> Result<Vec<ShardId>, Error> {
        self.apply(|txn| txn.release(name))
    }

    fn set(&mut self, text: &str) -> Result<Vec<ShardId>, Error> {
        let setting = Setting {
            scope: SettingScope::Transaction,
            name: "x".into(),
            text: text.into(),
        };
        self.apply(|txn| txn.set(setting))
    }
}

fn participant(shard: ShardId, access: Access) -> Participant {
    Participant {
        shard,
        access,
        preparable: true,
    }
}

#[test]
fn begin_is_lazy() {
    let mut session = Session::begun();
    assert_eq!((session.txn.status(), session.txn.shards()), (b'T', vec![]));
    assert_eq!(session.txn.clone().commit(), CommitPlan::Nothing);
    session.join(ONE);
    assert_eq!(session.sent, ["BEGIN"]);
    session.join(ONE);
    assert!(session.sent.is_empty());
    assert_eq!(session.txn.clone().commit(), CommitPlan::Plain(ONE));
    assert_eq!(session.txn.rollback(), [ONE]);
    assert_eq!(Txn::Idle.commit(), CommitPlan::Nothing);
}

#[test]
fn several_shards_are_coordinated() {
    let mut session = Session {
        txn: Txn::Idle.begin("ISOLATION LEVEL REPEATABLE READ"),
        sent: vec![],
    };
    session.write(TWO).join(ONE);
    assert_eq!(session.sent, ["BEGIN ISOLATION LEVEL REPEATABLE READ"]);
    session.txn.note_access(ONE, Access::Lock);
    session.txn.note_access(ONE, Access::Read);
    session.txn.note_unpreparable(ONE);
    let expected = vec![
        participant(TWO, Access::Write),
        Participant {
            preparable: false,
            ..participant(ONE, Access::Lock)
        },
    ];
    assert_eq!(
        session.txn.chain(),
        Txn::Idle.begin("ISOLATION LEVEL REPEATABLE READ")
    );
    assert_eq!(session.txn.commit(), CommitPlan::Coordinated(expected));
}

#[test]
fn who_joins_late_hears_all() {
    let mut session = Session::begun();
    session.write(ONE);
    assert_eq!(session.set("SET LOCAL a TO 1"), Ok(vec![ONE]));
    assert_eq!(session.savepoint("S"), Ok(vec![ONE]));
    assert_eq!(session.set("SET LOCAL a TO 2"), Ok(vec![ONE]));
    assert_eq!(session.savepoint("t"), Ok(vec![ONE]));
    session.join(TWO);
    assert_eq!(
        session.sent,
        [
            "BEGIN",
            "SET LOCAL a TO 1",
            "SAVEPOINT \"S\"",
            "SET LOCAL a TO 2",
            "SAVEPOINT \"t\""
        ]
    );
    // RELEASE forgets the savepoints, not what was set in them; ROLLBACK TO forgets both.
    assert_eq!(session.release("S"), Ok(vec![ONE, TWO]));
    session.join(ShardId(3));
    assert_eq!(
        session.sent,
        ["BEGIN", "SET LOCAL a TO 1", "SET LOCAL a TO 2"]
    );
    assert_eq!(session.savepoint("u"), Ok(vec![ONE, TWO, ShardId(3)]));
    assert!(session.set("SET LOCAL a TO 3").is_ok());
    assert!(session.rollback_to("u").is_ok());
    session.join(ShardId(4));
    assert_eq!(
        session.sent,
        [
            "BEGIN",
            "SET LOCAL a TO 1",
            "SET LOCAL a TO 2",
            "SAVEPOINT \"u\""
        ]
    );
    assert_eq!(session.txn.settings().count(), 2);
}

#[test]
fn a_savepoint_name_can_be_used_twice() {
    let mut session = Session::begun();
    assert!(session.savepoint("s").is_ok());
    assert!(session.set("SET LOCAL a TO 1").is_ok());
    assert!(session.savepoint("s").is_ok());
    assert!(session.set("SET LOCAL a TO 2").is_ok());
    assert!(session.rollback_to("s").is_ok());
    session.join(ONE);
    assert_eq!(
        session.sent,
        [
            "BEGIN",
            "SAVEPOINT \"s\"",
            "SET LOCAL a TO 1",
            "SAVEPOINT \"s\""
        ]
    );
    assert!(session.release("s").is_ok());
    assert!(session.rollback_to("s").is_ok());
    session.join(TWO);
    assert_eq!(session.sent, ["BEGIN", "SAVEPOINT \"s\""]);
}

#[test]
fn rollback_to_takes_writes_back() {
    let mut session = Session::begun();
    session.join(ONE);
    assert!(session.savepoint("a").is_ok());
    session.write(ONE);
    assert!(session.savepoint("b").is_ok());
    session.write(TWO);
    let access = |session: &Session| match session.txn.clone().commit() {
        CommitPlan::Coordinated(participants) => participants
            .iter()
            .map(|participant| participant.access)
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(access(&session), [Access::Write, Access::Write]);
    assert!(session.rollback_to("b").is_ok());
    assert_eq!(access(&session), [Access::Write, Access::Read]);
    // What was written in a released savepoint belongs to the one around it.
    session.write(TWO);
    assert!(session.release("b").is_ok());
    assert_eq!(access(&session), [Access::Write, Access::Write]);
    assert!(session.rollback_to("a").is_ok());
    assert_eq!(access(&session), [Access::Read, Access::Read]);
}

#[test]
fn a_failed_transaction_stays_failed() {
    let mut session = Session::begun();
    session.write(ONE).write(TWO);
    assert!(session.savepoint("s").is_ok());
    session.change(Txn::fail);
    assert_eq!(session.txn.status(), b'E');
    assert_eq!(session.savepoint("t"), Err(Error::TransactionFailed));
    assert_eq!(session.release("s"), Err(Error::TransactionFailed));
    assert_eq!(
        session.set("SET LOCAL a TO 1"),
        Err(Error::TransactionFailed)
    );
    session.join(ShardId(3));
    assert!(session.sent.is_empty());
    assert_eq!(
        session.txn.clone().commit(),
        CommitPlan::RolledBack(vec![ONE, TWO])
    );
    assert_eq!(session.rollback_to("s"), Ok(vec![ONE, TWO]));
    assert_eq!(session.txn.status(), b'T');
    assert!(matches!(session.txn.commit(), CommitPlan::Coordinated(_)));
}

#[test]
fn an_unknown_savepoint_fails_the_transaction() {
    let mut session = Session::begun();
    assert_eq!(
        session.rollback_to("s"),
        Err(Error::NoSuchSavepoint { name: "s".into() })
    );
    assert!(session.txn.is_failed());
    let mut session = Session::begun();
    assert_eq!(
        session.release("s").map_err(|error| error.sqlstate()),
        Err("3B001")
    );
    assert_eq!(session.txn.clone().commit(), CommitPlan::RolledBack(vec![]));
}

#[test]
fn a_lost_connection() {
    let mut session = Session::begun();
    session.write(ONE);
    assert!(session.savepoint("s").is_ok());
    session.write(TWO);
    // What it did came after the savepoint: nothing is missing once rolled back to it.
    session.change(|txn| txn.lose(TWO));
    assert!(!session.txn.has_joined(TWO));
    assert_eq!(session.rollback_to("s"), Ok(vec![ONE]));
    assert_eq!(session.txn.clone().commit(), CommitPlan::Plain(ONE));
    session.join(TWO);
    assert_eq!(session.sent, ["BEGIN", "SAVEPOINT \"s\""]);
    // The other took work from before it along.
    session.change(|txn| txn.lose(ONE));
    assert_eq!(
        session.rollback_to("s"),
        Err(Error::SavepointLost {
            name: "s".into(),
            shard: ONE
        })
    );
    assert_eq!(
        session.txn.clone().commit(),
        CommitPlan::RolledBack(vec![TWO])
    );
    assert_eq!(session.txn.rollback(), [TWO]);
}

#[test]
fn a_shard_that_could_not_join() {
    let mut session = Session::begun();
    session.write(ONE);
    session.join(TWO);
    session.change(|txn| txn.leave(TWO).fail());
    assert_eq!(
        session.txn.clone().commit(),
        CommitPlan::RolledBack(vec![ONE])
    );
    let mut session = Session::begun();
    session.join(ONE);
    session.change(|txn| txn.leave(ONE));
    assert_eq!(session.txn, Txn::Idle.begin(""));
}

#[test]
fn implicit_transactions() {
    let mut session = Session {
        txn: Txn::Idle.begin_implicit(),
        sent: vec![],
    };
    session.write(ONE);
    assert_eq!(session.sent, ["BEGIN"]);
    assert_eq!(
        (session.txn.status(), session.txn.is_explicit()),
        (b'I', false)
    );
    // The client's BEGIN makes it hers.
    session.change(|txn| txn.begin(""));
    assert_eq!(
        (session.txn.status(), session.txn.is_explicit()),
        (b'T', true)
    );
    let mut session = Session {
        txn: Txn::Idle.begin_implicit(),
        sent: vec![],
    };
    assert_eq!(
        session.savepoint("s"),
        Err(Error::NoTransaction {
            statement: "SAVEPOINT"
        })
    );
    assert!(session.txn.is_failed());
    let mut session = Session::default();
    assert_eq!(
        session.rollback_to("s").map_err(|error| error.sqlstate()),
        Err("25P01")
    );
    assert_eq!(session.txn, Txn::Idle);
    assert_eq!(session.set("SET a TO 1"), Ok(vec![]));
}

//! What goes wrong: crashes, broken and stalled connections, routers that stand still.

use super::driver::{DEADLINE, RETENTION, Router};
use super::world::{ROUTERS, SERVER_OF_SHARD, World};

impl World {
    pub fn fault(&mut self) {
        match self.random.below(12) {
            0 | 1 => {
                let router = self.random.below(self.routers.len());
                self.crash_router(router);
            }
            2 | 3 => {
                let server = self.random.below(self.servers.len());
                self.crash_server(server);
            }
            4 => {
                let router = self.random.below(self.routers.len());
                let pause = [30, DEADLINE, 3 * RETENTION][self.random.below(3)];
                let clock_stops = self.random.one_in(2);
                self.suspend(router, pause, clock_stops);
                self.trace(|| {
                    format!(
                        "router {router} is suspended for {pause}, its clock stops: {clock_stops}"
                    )
                });
            }
            5 => {
                let ids: Vec<usize> = self.connections.keys().copied().collect();
                let stall = [50, DEADLINE, 2 * RETENTION][self.random.below(3)];
                for id in ids {
                    if let Some(connection) = self
                        .connections
                        .get_mut(&id)
                        .filter(|_| self.random.one_in(4))
                    {
                        connection.stalled_until = self.now + stall;
                    }
                }
            }
            6 => self.neglect(),
            7 => {
                self.focus = Some((
                    self.random.below(ROUTERS),
                    self.now + 50 + self.random.below(100) as u64,
                ))
            }
            _ => {
                let ids: Vec<usize> = self.connections.keys().copied().collect();
                if let Some(id) = self.random.pick(&ids) {
                    self.trace(|| format!("connection {id} breaks"));
                    self.break_connection(id);
                }
            }
        }
    }

    /// A router stands still, some of what it sent is still on its way, and another recovers and, a retention later,
    /// collects, before the first goes on as if nothing had happened.
    pub fn neglect(&mut self) {
        let (still, busy) = if self.random.one_in(2) {
            (0, 1)
        } else {
            (1, 0)
        };
        self.trace(|| format!("router {still} stands still, router {busy} clears up"));
        self.suspend(still, RETENTION + 300, true);
        let stalled_until = self.now + RETENTION + 300;
        for connection in self
            .connections
            .values_mut()
            .filter(|connection| connection.router == still)
        {
            if self.random.one_in(2) {
                connection.stalled_until = stalled_until;
            }
        }
        self.recover(busy, 0);
        self.focus = Some((busy, self.now + 100));
        self.collection_due = Some((busy, self.now + 101));
    }

    /// It is back at once, remembering nothing.
    pub fn crash_router(&mut self, router: usize) {
        self.trace(|| format!("router {router} dies"));
        let ids: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.router == router)
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            let keep = self.random.below(3);
            if let Some(connection) = self
                .connections
                .get_mut(&id)
                .filter(|connection| connection.router_end)
            {
                connection.router_end = false;
                connection.server_hears = true;
                connection.to_router.clear();
                connection.to_server.truncate(keep);
            }
        }
        let identity = self.identity(router);
        self.routers[router] = Router::new(identity);
    }

    pub fn crash_server(&mut self, server: usize) {
        self.trace(|| format!("server {server} dies"));
        self.servers[server].down = true;
        for (index, &home) in SERVER_OF_SHARD.iter().enumerate() {
            if home != server {
                continue;
            }
            for connection in self
                .connections
                .values_mut()
                .filter(|connection| connection.shard == index && connection.server_end)
            {
                connection.server_end = false;
                connection.router_hears = true;
                connection.open = None;
                connection.to_server.clear();
                connection.to_router.truncate(self.random.below(2));
            }
            let shard = &mut self.shards[index];
            for (transaction, gid) in shard.unflushed.drain(..) {
                shard.committed.remove(&transaction);
                gid.and_then(|gid| shard.decisions.remove(&gid));
            }
        }
    }

    pub fn restart_servers(&mut self) {
        self.servers
            .iter_mut()
            .for_each(|server| server.down = false);
    }
}

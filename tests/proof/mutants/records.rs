//! Faults of the verbs of a record.

use super::Mutant;

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        file: "start/scripts/condemn.lua",
        from: "rec.condemned, rec.updated_at_ms = container, now_ms()",
        to: "rec.updated_at_ms = now_ms()",
        why: "a container is removed that the record does not condemn",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "if left > 0 and not is_mine and not is_of_dead then",
        to: "if false then",
        why: "begins beside an attempt that lives",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "if was_halted(rec, new) then return { 'halted', rec.stopped_by } end",
        to: "",
        why: "starts a game that an operator has stopped",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "rec.image_ref ~= new.image_ref and rec.source_ref ~= gone then",
        to: "false then",
        why: "begins although another job's attempt is open",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "if is_elsewhere and (is_starting or rec.condemned ~= '') then",
        to: "if false then",
        why: "begins on a second host",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "if rec.answer then keep_answer(key, rec) end",
        to: "",
        why: "an earlier job's answer is lost",
    },
    Mutant {
        file: "start/scripts/begin.lua",
        from: "  if size.count < most or",
        to: "  if true or",
        why: "a host has more games than it may",
    },
    Mutant {
        file: "start/scripts/record.lua",
        from: "rec.fence = rec.fence + 1",
        to: "rec.fence = rec.fence",
        why: "the fence does not rise",
    },
    Mutant {
        file: "start/scripts/record.lua",
        from: "    keep_answer(key, rec)\n    rec.answer = nil",
        to: "    rec.answer = nil",
        why: "the answer of a game that has ended is lost",
    },
    Mutant {
        file: "start/scripts/record.lua",
        from: "[1] == rec.owner\n",
        to: "[1] ~= nil\n",
        why: "held by its fence alone",
    },
    Mutant {
        file: "start/scripts/commit.lua",
        from: "if not is_held_by(key, holder) then return NO end",
        to: "",
        why: "commits although it is fenced",
    },
    Mutant {
        file: "start/scripts/reap.lua",
        from: "if rec.state == 'running' and rec.container_id == container then return NO end",
        to: "",
        why: "removes the container that runs",
    },
    Mutant {
        file: "start/scripts/reap.lua",
        from: "if rec.state == 'starting' and is_here_now then return NO end",
        to: "",
        why: "removes what an attempt under way may adopt",
    },
    Mutant {
        file: "start/scripts/stop.lua",
        from: "    raise_fence(key, rec)\n",
        to: "",
        why: "a stopped attempt is not fenced",
    },
    Mutant {
        file: "start/scripts/disown.lua",
        from: "if rec.state == 'starting' or",
        to: "if",
        why: "a fenced attempt removes what another may have adopted",
    },
    Mutant {
        file: "start/scripts/release_lease.lua",
        from: "    rec.lease_until_ms = 0\n",
        to: "",
        why: "a lease that was given up goes on",
    },
    Mutant {
        file: "start/scripts/renew_lease.lua",
        from: " or rec.state ~= 'starting' then",
        to: " then",
        why: "renews the lease of a game that runs",
    },
    Mutant {
        file: "start/scripts/revived.lua",
        from: "rec.state ~= 'stopped' or rec.stopped_by ~= '' or",
        to: "rec.state ~= 'stopped' or",
        why: "a game that was stopped is revived",
    },
    Mutant {
        file: "start/scripts/abandon.lua",
        from: "if rec.state ~= 'starting' or not is_of_one_job(rec, new) then",
        to: "if rec.state ~= 'starting' then",
        why: "gives up another job's attempt",
    },
    Mutant {
        file: "start/scripts/ended.lua",
        from: "rec.state ~= 'running' or rec.container_id ~= container then",
        to: "rec.state ~= 'running' then",
        why: "another container's end counts",
    },
    Mutant {
        file: "start/scripts/room.lua",
        from: "    redis.call('ZREM', name, game)\n",
        to: "",
        why: "keeps its place while it waits",
    },
];

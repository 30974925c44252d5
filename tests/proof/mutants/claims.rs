//! Faults of claims and of noticing deaths.

use super::Mutant;

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        file: "stream/scripts/claim.lua",
        from: " or own.seen + claim_idle < now then",
        to: " then",
        why: "claims although its own presence has expired",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "  add_to_ledger(lost)\n",
        to: "",
        why: "a lost entry is not in the ledger",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "if owner.state == 'left' then return 'left' end",
        to: "if owner.state == 'left' then return 'died' end",
        why: "a clean exit counts as a crash",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "if crashes < SUSPECT_CRASHES or redis.call('HGET', ATTEMPTS, 'alone:' .. id) == owner then",
        to: "if true then",
        why: "every death counts against a suspect",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "if has_cause and excuses_of(id) < EXCUSED_MAX then",
        to: "if false then",
        why: "a death with many others counts",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "local length = math.max(owner.claim_idle or claim_idle, claim_idle)",
        to: "local length = claim_idle / 4",
        why: "takes from living replicas",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "and since or math.max(owner.seen, since)",
        to: "and since or owner.seen",
        why: "the judge's own gap does not count",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "'RETRYCOUNT', count + 1,",
        to: "'RETRYCOUNT', count,",
        why: "a claim is no delivery",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "and not there[pending[1]] then",
        to: "and false then",
        why: "takes entries without payload from a living owner",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "elseif candidate and candidate.crashes >= SUSPECT_CRASHES then",
        to: "elseif candidate and candidate.crashes > 99 then",
        why: "a suspect runs beside others",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "if wants_suspect then redis.call('HSET', ATTEMPTS, 'alone:' .. id, ME) end",
        to: "",
        why: "who runs a suspect is not written down",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "'cursor', reached_end and '-' or cursor)",
        to: "'cursor', '-')",
        why: "each sweep begins at the front",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "redis.pcall('XGROUP', 'DELCONSUMER', JOBS, GROUP, owner)",
        to: "local _ = nil",
        why: "the consumer of a replica that left stays",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "  redis.call('XACK', JOBS, GROUP, unpack(lost))\n",
        to: "",
        why: "a lost entry stays pending",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "  if delivered then write_mirror(delivered) end\n",
        to: "",
        why: "the mirror does not follow a lost entry",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "      write_attempts(id, candidate.crashes, candidate.failures, candidate.since)\n",
        to: "",
        why: "a crash is not counted",
    },
    Mutant {
        file: "stream/scripts/watch.lua",
        from: "if now - first >= needed then",
        to: "if true then",
        why: "declares a replica dead before the grace has passed",
    },
    Mutant {
        file: "stream/scripts/watch.lua",
        from: "if counts[1] == 0 then return {}, nil, again end",
        to: "",
        why: "a judge that is cut off itself declares others dead",
    },
    Mutant {
        file: "stream/scripts/watch.lua",
        from: "if counts[i + 1] == 0 and presence.seen >= since then",
        to: "if counts[i + 1] == 0 then",
        why: "declares dead who was cut off together with the judge",
    },
    Mutant {
        file: "stream/scripts/watch.lua",
        from: "if not first or presence.seen > first or first > now then",
        to: "if not first then",
        why: "declares dead who has renewed since",
    },
    Mutant {
        file: "stream/scripts/watch.lua",
        from: "if now >= looked and now - looked <= 2 * shortest / 3 then",
        to: "if now >= looked then",
        why: "looks with a pause between them count as one",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "    elseif candidate.verdict ~= 'disconnected' then\n",
        to: "    else\n",
        why: "counts as lost what a replica may still settle",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "for owner, ids in pairs(charged) do charge(owner, ids, now) end",
        to: "",
        why: "a provisional crash is not written down as one",
    },
    Mutant {
        file: "stream/scripts/claim.lua",
        from: "if own and own.state == 'dead' then return answer('dead') end",
        to: "",
        why: "a replica that was declared dead claims",
    },
];

-- Filters of lists, by hash and seq.
--
-- An index on (ledger, subject, seq) takes some 85 bytes an entry: its keys are wide, and wide
-- keys that grow within each group leave PostgreSQL's pages half empty (nbtsplitloc.c splits
-- after the new tuple only where a tuple is no wider than two 8-byte integers). The hash of
-- ledger and value beside seq is exactly that wide: 32 to 39 bytes an entry. Who reads compares
-- ledger and value as well.

create index entries_by_kind_hash on effect_ledger.entries
    (hashtextextended(kind, hashtextextended(ledger, 0)), seq);
create index entries_by_type_hash on effect_ledger.entries
    (hashtextextended(type, hashtextextended(ledger, 0)), seq);
create index entries_by_poster_hash on effect_ledger.entries
    (hashtextextended(poster, hashtextextended(ledger, 0)), seq);
create index entries_by_subject_hash on effect_ledger.entries
    (hashtextextended(subject, hashtextextended(ledger, 0)), seq) where subject is not null;
create index entries_by_actor_hash on effect_ledger.entries
    (hashtextextended(actor, hashtextextended(ledger, 0)), seq) where actor is not null;
create index entries_by_currency_hash on effect_ledger.entries
    (hashtextextended(currency, hashtextextended(ledger, 0)), seq) where currency is not null;

drop index effect_ledger.entries_by_kind;
drop index effect_ledger.entries_by_type;
drop index effect_ledger.entries_by_poster;
drop index effect_ledger.entries_by_subject;
drop index effect_ledger.entries_by_actor;
drop index effect_ledger.entries_by_currency;

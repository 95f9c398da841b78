/** What makes no serving gateway of the previous release fail or wait, before and after. */
const SAFE = [
  // What is new is in nobody's way.
  /^create (table|type|schema|sequence) /i,
  /^create (or replace )?function /i,
  /^create (unique )?index concurrently /i,
  // A column that may be null, or has a constant: the table is not written anew, and old inserts go on.
  /^alter table "\w+" add column "\w+" (?!\w*serial)"?[a-z][a-z_\d]*"?(\(\d+\))?( with time zone)?(\[\])?( collate "\w+")?$/i,
  /^alter table "\w+" add column "\w+" (?!\w*serial)[a-z]+(\(\d+\))?( default ('[^']*'|-?\d+|true|false))( not null)?$/i,
  /^alter table "\w+" alter column "\w+" drop not null$/i,
  // What is there stays as it is, and old inserts get the value without knowing of it.
  /^alter table "\w+" alter column "\w+" set default \S+$/i,
  // It holds for what is written from now on; what is there is looked through by another migration, without a lock.
  /^alter table "\w+" add constraint "\w+" check \(.*\) not valid$/is,
  /^alter table "\w+" validate constraint "\w+"$/i,
  /^alter type [\w".]+ add value '[^']*'$/i,
];
const NEW_TABLE = /^create table (?:if not exists )?"(\w+)"/i;
const ON_TABLE =
  /^(?:alter table|(?:create (?:unique )?index "\w+"|create (?:constraint )?trigger "?\w+"? .*?) on|insert into) "(\w+)"/is;

/**
 * Those statements of one migration that the gateways of the previous release would not survive, or would wait for:
 * whatever is not known to be safe, and not about a table that the migration itself makes.
 */
export function unsafeStatements(statements: readonly string[]): string[] {
  const bare = statements.map((statement) => statement.trim().replace(/;$/, ""));
  const made = new Set(bare.map((statement) => NEW_TABLE.exec(statement)?.[1]));
  made.delete(undefined);
  return bare.filter((statement) => {
    if (SAFE.some((pattern) => pattern.test(statement))) return false;
    return !made.has(ON_TABLE.exec(statement)?.[1]);
  });
}

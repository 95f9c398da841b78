/** Statements that make no serving gateway of the previous release fail or wait, before and after. */
const SAFE = [
  // New objects are used by no gateway of the previous release.
  /^create (table|type|schema|sequence) /i,
  /^create (or replace )?function /i,
  /^create (unique )?index concurrently /i,
  // It refuses deletions only on account of rows that no gateway of the previous release writes.
  /^create trigger "kycs_held" after delete on "kycs" /i,
  // A column that may be null, or has a constant: the table is not written anew, and old inserts go on.
  /^alter table "\w+" add column "\w+" (?!\w*serial)"?[a-z][a-z_\d]*"?(\(\d+\))?( with time zone)?(\[\])?( collate "\w+")?$/i,
  /^alter table "\w+" add column "\w+" (?!\w*serial)[a-z]+(\(\d+\))?(\[\])?( default ('[^']*'|-?\d+|true|false))( not null)?$/i,
  /^alter table "\w+" alter column "\w+" drop not null$/i,
  // Existing rows stay as they are, and inserts of the previous release get the value.
  /^alter table "\w+" alter column "\w+" set default \S+$/i,
  // It holds for later writes. Another migration checks the existing rows, without a lock.
  /^alter table "\w+" add constraint "\w+" check \(.*\) not valid$/is,
  /^alter table "\w+" validate constraint "\w+"$/i,
  /^alter type [\w".]+ add value '[^']*'$/i,
];
const NEW_TABLE = /^create table (?:if not exists )?"(\w+)"/i;
const ON_TABLE =
  /^(?:alter table|(?:create (?:unique )?index "\w+"|create (?:constraint )?trigger "?\w+"? .*?) on|insert into) "(\w+)"/is;

/**
 * Finds the statements of one migration that would make gateways of the previous release fail or wait: all that are not
 * known to be safe, except for tables that the migration itself creates.
 */
export function unsafeStatements(statements: readonly string[]): string[] {
  const bare = statements.map((statement) =>
    statement
      .replace(/^\s*--.*\n/gm, "")
      .trim()
      .replace(/;$/, ""),
  );
  const made = new Set(bare.map((statement) => NEW_TABLE.exec(statement)?.[1]));
  made.delete(undefined);
  return bare.filter((statement) => {
    if (SAFE.some((pattern) => pattern.test(statement))) return false;
    return !made.has(ON_TABLE.exec(statement)?.[1]);
  });
}

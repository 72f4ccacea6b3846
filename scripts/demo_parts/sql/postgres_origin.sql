-- What only the origin has: the table of the pipeline's own sins, whose copy the sink makes by itself.
CREATE TABLE IF NOT EXISTS pipeline_sins (
  id bigint PRIMARY KEY, kind text NOT NULL, big_text text, measure double precision, exact numeric,
  touched int NOT NULL);
ALTER TABLE pipeline_sins ALTER COLUMN big_text SET STORAGE EXTERNAL;
-- The pipeline's `documents` must carry whole rows; `pipeline_sins` is left at the default on purpose.
ALTER TABLE documents REPLICA IDENTITY FULL;

CREATE TABLE regions (id int NOT NULL PRIMARY KEY, name text NOT NULL);
CREATE TABLE accounts (id bigint NOT NULL PRIMARY KEY, region int NOT NULL, bucket int NOT NULL, balance int NOT NULL, filler char(84) NOT NULL);
CREATE TABLE entries (account bigint NOT NULL, number int NOT NULL, payer bigint NOT NULL, amount int NOT NULL, PRIMARY KEY (account, number));

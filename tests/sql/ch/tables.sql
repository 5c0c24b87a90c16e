-- CH-benCHmark: TPC-C's tables, sharded by the warehouse, and TPC-H's suppliers. Small, and with rows that any server computes alike.
CREATE FUNCTION draw(n bigint, salt int, choices int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT ((hashint8extended(n, salt) & 2147483647) % choices)::int';
CREATE TABLE warehouse (w_id int PRIMARY KEY, w_name varchar(10), w_state char(2), w_ytd numeric(12,2));
CREATE TABLE district (d_w_id int NOT NULL, d_id int NOT NULL, d_name varchar(10), d_next_o_id int, PRIMARY KEY (d_w_id, d_id));
CREATE TABLE customer (c_w_id int NOT NULL, c_d_id int NOT NULL, c_id int NOT NULL, c_last varchar(16), c_city varchar(20), c_state char(2), c_phone char(16), c_balance numeric(12,2), c_n_nationkey int, PRIMARY KEY (c_w_id, c_d_id, c_id));
CREATE TABLE history (h_w_id int NOT NULL, h_c_id int, h_d_id int, h_date timestamp, h_amount numeric(6,2));
CREATE TABLE neworder (no_w_id int NOT NULL, no_d_id int NOT NULL, no_o_id int NOT NULL, PRIMARY KEY (no_w_id, no_d_id, no_o_id));
CREATE TABLE oorder (o_w_id int NOT NULL, o_d_id int NOT NULL, o_id int NOT NULL, o_c_id int, o_entry_d timestamp, o_carrier_id int, o_ol_cnt int, PRIMARY KEY (o_w_id, o_d_id, o_id));
CREATE TABLE orderline (ol_w_id int NOT NULL, ol_d_id int NOT NULL, ol_o_id int NOT NULL, ol_number int NOT NULL, ol_i_id int, ol_supply_w_id int, ol_delivery_d timestamp, ol_quantity int, ol_amount numeric(6,2), PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number));
CREATE TABLE item (i_id int PRIMARY KEY, i_name varchar(24), i_price numeric(5,2), i_data varchar(50));
CREATE TABLE stock (s_w_id int NOT NULL, s_i_id int NOT NULL, s_quantity int, s_ytd int, s_order_cnt int, PRIMARY KEY (s_w_id, s_i_id));
CREATE TABLE supplier (su_suppkey int PRIMARY KEY, su_name char(25), su_address varchar(40), su_nationkey int, su_phone char(15), su_comment varchar(100));
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25), n_regionkey int);
CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25));
-- setup pgweave: SELECT pgweave.shard_table('warehouse', 'w_id')
-- setup pgweave: SELECT pgweave.shard_table('district', 'd_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('customer', 'c_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('history', 'h_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('neworder', 'no_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('oorder', 'o_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('orderline', 'ol_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.shard_table('stock', 's_w_id', colocate_with => 'warehouse')
-- setup pgweave: SELECT pgweave.reference_table('item')
-- setup pgweave: SELECT pgweave.reference_table('nation')
-- setup pgweave: SELECT pgweave.reference_table('region')
-- setup pgweave: SELECT pgweave.reference_table('supplier')
INSERT INTO region SELECT i, (string_to_array('Africa,America,Asia,Europe,Middle East', ','))[i] FROM generate_series(1, 5) i;
INSERT INTO nation SELECT ascii('A') + i, CASE WHEN i % 5 = 2 THEN 'Germany' || i ELSE 'Nation' || i END, 1 + i % 5 FROM generate_series(0, 25) i;
INSERT INTO supplier SELECT i, 'Supplier' || i, 'address ' || i, ascii('A') + draw(i, 1, 26), (100 + draw(i, 2, 900))::text, CASE WHEN i % 4 = 0 THEN 'a bad one' ELSE 'fine' END FROM generate_series(0, 19) i;
INSERT INTO item SELECT i, 'item ' || i, (100 + draw(i, 3, 9900)) / 100.0, CASE WHEN draw(i, 4, 5) = 0 THEN 'co ORIGINAL b' WHEN draw(i, 4, 5) = 1 THEN 'zz' || i || 'b' ELSE 'pr' || i || 'a' END FROM generate_series(1, 60) i;
INSERT INTO warehouse SELECT i, 'house ' || i, chr(64 + i) || 'Z', i * 1000.50 FROM generate_series(1, 5) i;
INSERT INTO district SELECT w, d, 'district ' || d, 26 FROM generate_series(1, 5) w, generate_series(1, 3) d;
INSERT INTO customer SELECT w, d, c, 'NAME' || draw(w * 1000 + d * 100 + c, 5, 9), 'city ' || c % 4, chr(65 + draw(w * 1000 + d * 100 + c, 6, 26)) || 'X', (1 + draw(w * 1000 + d * 100 + c, 7, 9)) || '-555', (draw(w * 1000 + d * 100 + c, 8, 200000) - 50000) / 100.0, ascii('A') + draw(w * 1000 + d * 100 + c, 6, 26) FROM generate_series(1, 5) w, generate_series(1, 3) d, generate_series(1, 20) c;
INSERT INTO history SELECT w, c, d, timestamp '2020-01-01' + c * interval '1 hour', c * 1.25 FROM generate_series(1, 5) w, generate_series(1, 3) d, generate_series(1, 20) c;
INSERT INTO oorder SELECT w, d, o, 1 + draw(w * 1000 + d * 100 + o, 9, 20), timestamp '2020-01-01' + draw(w * 1000 + d * 100 + o, 10, 900) * interval '1 day', CASE WHEN o > 20 THEN NULL ELSE 1 + draw(w * 1000 + d * 100 + o, 11, 10) END, 3 + o % 5 FROM generate_series(1, 5) w, generate_series(1, 3) d, generate_series(1, 25) o;
INSERT INTO neworder SELECT w, d, o FROM generate_series(1, 5) w, generate_series(1, 3) d, generate_series(21, 25) o;
INSERT INTO orderline SELECT w, d, o, l, 1 + draw(((w * 10 + d) * 100 + o) * 10 + l, 12, 60), CASE WHEN l = 3 THEN 1 + w % 5 ELSE w END, CASE WHEN o > 20 THEN NULL ELSE timestamp '2020-01-01' + draw(w * 1000 + d * 100 + o, 10, 900) * interval '1 day' + l * interval '3 days' END, 1 + draw(((w * 10 + d) * 100 + o) * 10 + l, 13, 10), draw(((w * 10 + d) * 100 + o) * 10 + l, 14, 99999) / 100.0 FROM generate_series(1, 5) w, generate_series(1, 3) d, generate_series(1, 25) o, LATERAL generate_series(1, 3 + o % 5) l;
INSERT INTO stock SELECT w, i, draw(w * 1000 + i, 15, 100), draw(w * 1000 + i, 16, 50), draw(w * 1000 + i, 17, 20) FROM generate_series(1, 5) w, generate_series(1, 60) i;

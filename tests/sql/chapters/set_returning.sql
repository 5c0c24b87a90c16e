-- Functions that return sets.
SELECT id, generate_series(1, 2) FROM people ORDER BY 1, 2;
SELECT id, g FROM people, generate_series(1, id % 3) g ORDER BY 1, 2;
SELECT id, generate_series(1, id % 3) AS g FROM people ORDER BY 1, 2;
SELECT g, count(p.id) FROM generate_series(1, 12) g LEFT JOIN people p ON p.id = g GROUP BY g ORDER BY g;
SELECT g FROM generate_series(1, 12) g WHERE g NOT IN (SELECT id FROM people) ORDER BY g;
SELECT day::date, total FROM generate_series('2024-01-01'::date, '2024-01-20', '3 days') day LEFT JOIN days ON d = day ORDER BY 1;
SELECT g, sum(amount) FROM generate_series(0, 4) g JOIN sales ON qty = g GROUP BY g ORDER BY g;
SELECT count(*) FROM people, generate_series(1, 100);
SELECT id, x FROM people CROSS JOIN LATERAL generate_series(1, 3) WITH ORDINALITY AS g (x, n) WHERE n <> 2 ORDER BY 1, 2;
SELECT id, a, b FROM people, ROWS FROM (generate_series(1, 2), generate_series(10, 12)) AS r (a, b) WHERE id < 3 ORDER BY 1, 3;
SELECT unnest(ARRAY[id, boss]) AS x, count(*) FROM people GROUP BY x ORDER BY x;
SELECT generate_series(min(id), max(id), 3) FROM people;
SELECT id, regexp_split_to_table(name, '') AS letter FROM people WHERE id < 4 ORDER BY 1, 2;
SELECT max(g) FROM (SELECT generate_series(1, qty) AS g FROM sales) x;
SELECT id FROM people ORDER BY generate_series(1, 1), id;
SELECT generate_series(1, 3) FROM nothing;
SELECT DISTINCT generate_series(1, 2), region FROM people ORDER BY 1, 2;

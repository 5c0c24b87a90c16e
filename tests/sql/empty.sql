-- Texts that hold no statement, or hide one.
;
/* nothing */ ;
SELECT 1 ; -- only a remark
;
-- only simple
;;;
-- only simple
SELECT 1;;SELECT 2;
-- only extended
SELECT 1;;
 	 ;
SELECT 'a;b', "?column?" FROM (SELECT 1) x;

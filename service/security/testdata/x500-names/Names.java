// Prints what Java makes of names in certificates: X500Principal.getName(RFC2253), which is what Kafka's principals are made of.
// One line each: the name's DER in hexadecimal, a tab, the text (what is not printable ASCII as its units of UTF-16 in braces).
// (A surrogate in UTF-8 is left out: Java replaces it as a whole, we byte by byte.)
//     java -Dfile.encoding=UTF-8 Names.java > names.txt

import javax.security.auth.x500.X500Principal;
import java.io.*;
import java.util.*;

public class Names {
    static byte[] der(int tag, byte[] content) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(tag);
        int n = content.length;
        if (n < 128) out.write(n);
        else if (n < 256) { out.write(0x81); out.write(n); }
        else { out.write(0x82); out.write(n >> 8); out.write(n); }
        out.write(content);
        return out.toByteArray();
    }
    static byte[] cat(byte[]... parts) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] p : parts) out.write(p);
        return out.toByteArray();
    }
    static byte[] hex(String s) {
        byte[] out = new byte[s.length() / 2];
        for (int i = 0; i < out.length; i++) out[i] = (byte) Integer.parseInt(s.substring(2 * i, 2 * i + 2), 16);
        return out;
    }
    static String show(byte[] b) { StringBuilder s = new StringBuilder(); for (byte x : b) s.append(String.format("%02x", x)); return s.toString(); }
    static byte[] attr(String oid, int tag, byte[] value) throws IOException { return der(0x30, cat(der(6, hex(oid)), der(tag, value))); }
    static byte[] rdn(byte[]... attrs) throws IOException { return der(0x31, cat(attrs)); }
    static void name(byte[]... rdns) throws IOException {
        byte[] n = der(0x30, cat(rdns));
        String s;
        try { s = new X500Principal(n).getName(X500Principal.RFC2253); } catch (Exception e) { s = "EXC " + e; }
        StringBuilder q = new StringBuilder();
        for (char c : s.toCharArray()) { if (c < 32 || c > 126) q.append(String.format("\\u{%x}", (int) c)); else q.append(c); }
        System.out.println(show(n) + "\t" + q);
    }
    public static void main(String[] args) throws Exception {
        String CN = "550403";
        String[] texts = {"alice", "a=b", "=", "a#b", "#a", "##", " a", "a ", "  a  ", " ", "  ", "a  b", "a,b", "a+b", "a\"b", "a\\b", "a<b>c;d", "é", "日本", "a\nb", "a\u0000b", "a\u007fb", "a\tb", "", "\u00a0x", "x\u200b", "😀", "\u0001", "e\u0301", "a;b=c#d,e", "a/b", "a'b(c)", "#", " #a", "\u0085", "a@b", "*", "a_b", "a&b", "a$b", "a!b", "a%b", "a~b", "[a]", "{a}", "a|b", "a^b", "a`b"};
        for (String t : texts) name(rdn(attr(CN, 0x0c, t.getBytes("UTF-8"))));
        System.out.println("# printable");
        for (String t : new String[]{"a=b", "a#b", "a@b", "x_y", "a b"}) name(rdn(attr(CN, 0x13, t.getBytes("UTF-8"))));
        System.out.println("# printable, non-ascii bytes");
        name(rdn(attr(CN, 0x13, hex("61e962"))));
        name(rdn(attr(CN, 0x13, "é".getBytes("UTF-8"))));
        System.out.println("# utf8 invalid");
        name(rdn(attr(CN, 0x0c, hex("61ff62"))));
        System.out.println("# ia5");
        for (String t : new String[]{"a@b", "a=b", "é"}) name(rdn(attr(CN, 0x16, t.getBytes("UTF-8"))));
        System.out.println("# t61");
        name(rdn(attr(CN, 0x14, hex("61e962"))));
        name(rdn(attr(CN, 0x14, "a=b".getBytes())));
        System.out.println("# bmp");
        name(rdn(attr(CN, 0x1e, "aé日".getBytes("UTF-16BE"))));
        name(rdn(attr(CN, 0x1e, "a=b".getBytes("UTF-16BE"))));
        System.out.println("# universal");
        name(rdn(attr(CN, 0x1c, "aé".getBytes("UTF-32BE"))));
        System.out.println("# general, numeric, visible, octet, int");
        for (int tag : new int[]{0x1b, 0x12, 0x1a, 0x04, 0x02, 0x03}) name(rdn(attr(CN, tag, "12".getBytes())));
        System.out.println("# attrs");
        String[] oids = {"550403","550404","550405","550406","550407","550408","550409","55040a","55040b","55040c","55042a","55042b","55042c","55042d","55042e","550441","2a864886f70d010901","0992268993f22c640101","0992268993f22c640119","0992268993f22c640103","55040d","550411","2a864886f70d010902","55040f","550429", "8837", "2a03"};
        for (String o : oids) name(rdn(attr(o, 0x0c, "x=y".getBytes())));
        for (String o : oids) name(rdn(attr(o, 0x13, "xy".getBytes())));
        System.out.println("# multi");
        name(rdn(attr(CN, 0x0c, "b".getBytes()), attr("55040b", 0x0c, "a".getBytes())));
        name(rdn(attr("55040b", 0x0c, "a".getBytes()), attr(CN, 0x0c, "b".getBytes())));
        name(rdn(attr("55040b", 0x0c, "a".getBytes()), attr(CN, 0x0c, "b".getBytes()), attr("2a864886f70d010901", 0x16, "a@b".getBytes())));
        name(rdn(attr("550406", 0x13, "DE".getBytes())), rdn(attr("55040a", 0x0c, "Example, Inc.".getBytes())), rdn(attr(CN, 0x0c, "alice".getBytes())));
        System.out.println("# UTF-8 that is cut off, overlong, beyond Unicode");
        for (String t : new String[]{"e697", "e69761", "f09f98", "f09f9861", "c080", "f4908080", "f8888080", "80", "ffff", "c3", "e2e282ac"}) {
            name(rdn(attr(CN, 0x0c, hex(t))));
        }
        System.out.println("# empty");
        name();
    }
}

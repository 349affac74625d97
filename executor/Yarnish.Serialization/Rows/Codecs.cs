using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace Yarnish.Serialization;

/// <summary>Writes one value as MessagePack into a span. Static, so that the JIT makes straight code for each combination.</summary>
internal interface ICodec<T>
{
    /// <summary>No value like this takes more bytes.</summary>
    static abstract int Bound(T value);

    /// <summary>Writes into at least <see cref="Bound"/> bytes and tells how many were used.</summary>
    static abstract int Write(Span<byte> output, T value);

    /// <summary>Reads at the position and moves it on. Throws any exception on bytes that are no such value.</summary>
    static abstract T Read(ReadOnlySpan<byte> input, ref int position);
}

internal readonly struct Int64Codec : ICodec<long>
{
    public static int Bound(long value) => 9;

    public static int Write(Span<byte> output, long value)
    {
        switch (value)
        {
            case >= -32 and <= 127:
                output[0] = (byte)(sbyte)value;
                return 1;
            case >= sbyte.MinValue and <= sbyte.MaxValue:
                output[0] = Code.Int8;
                output[1] = (byte)(sbyte)value;
                return 2;
            case >= short.MinValue and <= short.MaxValue:
                output[0] = Code.Int16;
                BinaryPrimitives.WriteInt16BigEndian(output[1..], (short)value);
                return 3;
            case >= int.MinValue and <= int.MaxValue:
                output[0] = Code.Int32;
                BinaryPrimitives.WriteInt32BigEndian(output[1..], (int)value);
                return 5;
            default:
                output[0] = Code.Int64;
                BinaryPrimitives.WriteInt64BigEndian(output[1..], value);
                return 9;
        }
    }

    public static long Read(ReadOnlySpan<byte> input, ref int position)
    {
        var code = input[position++];
        switch (code)
        {
            case <= 0x7f or >= 0xe0:
                return (sbyte)code;
            case Code.Int8:
                return (sbyte)input[position++];
            case Code.Int16:
                position += 2;
                return BinaryPrimitives.ReadInt16BigEndian(input[(position - 2)..]);
            case Code.Int32:
                position += 4;
                return BinaryPrimitives.ReadInt32BigEndian(input[(position - 4)..]);
            case Code.Int64:
                position += 8;
                return BinaryPrimitives.ReadInt64BigEndian(input[(position - 8)..]);
            default:
                throw Code.Unexpected(code, "an integer");
        }
    }
}

internal readonly struct Int32Codec : ICodec<int>
{
    public static int Bound(int value) => 5;

    public static int Write(Span<byte> output, int value) => Int64Codec.Write(output, value);

    public static int Read(ReadOnlySpan<byte> input, ref int position) => checked((int)Int64Codec.Read(input, ref position));
}

internal readonly struct DoubleCodec : ICodec<double>
{
    public static int Bound(double value) => 9;

    public static int Write(Span<byte> output, double value)
    {
        output[0] = Code.Float64;
        BinaryPrimitives.WriteDoubleBigEndian(output[1..], value);
        return 9;
    }

    public static double Read(ReadOnlySpan<byte> input, ref int position)
    {
        var code = input[position++];
        if (code != Code.Float64)
        {
            throw Code.Unexpected(code, "a number");
        }

        position += 8;
        return BinaryPrimitives.ReadDoubleBigEndian(input[(position - 8)..]);
    }
}

/// <summary>
/// Strings as UTF-8. A string that is not valid UTF-16 (a lone surrogate, as cut text has) would come back changed, so it travels as the extension <see cref="Code.Utf16Extension"/>.
/// </summary>
internal readonly struct StringCodec : ICodec<string?>
{
    // Up to here three bytes for each char are asked for without counting.
    private const int CountFrom = 1024;

    public static int Bound(string? value) => value is null ? 1
        : value.Length < CountFrom ? (value.Length * 3) + 6
        : checked(Math.Max(Encoding.UTF8.GetByteCount(value), value.Length * 2) + 6);

    public static int Write(Span<byte> output, string? value)
    {
        if (value is null)
        {
            output[0] = Code.Nil;
            return 1;
        }

        // The header's width follows from the longest the text can get: one pass, at most a few bytes more than needed.
        var header = value.Length switch { <= 10 => 1, <= 85 => 2, <= 21_845 => 3, _ => 5 };
        if (Utf8.FromUtf16(value, output[header..], out _, out var length, replaceInvalidSequences: false) != System.Buffers.OperationStatus.Done)
        {
            return WriteUtf16(output, value);
        }

        switch (header)
        {
            case 1:
                output[0] = (byte)(Code.FixString | length);
                break;
            case 2:
                output[0] = Code.String8;
                output[1] = (byte)length;
                break;
            case 3:
                output[0] = Code.String16;
                BinaryPrimitives.WriteUInt16BigEndian(output[1..], (ushort)length);
                break;
            default:
                output[0] = Code.String32;
                BinaryPrimitives.WriteInt32BigEndian(output[1..], length);
                break;
        }

        return header + length;
    }

    private static int WriteUtf16(Span<byte> output, string value)
    {
        output[0] = Code.Extension32;
        BinaryPrimitives.WriteInt32BigEndian(output[1..], value.Length * 2);
        output[5] = Code.Utf16Extension;
        MemoryMarshal.AsBytes(value.AsSpan()).CopyTo(output[6..]);
        return 6 + (value.Length * 2);
    }

    public static string? Read(ReadOnlySpan<byte> input, ref int position)
    {
        var code = input[position++];
        int length;
        switch (code)
        {
            case >= Code.FixString and <= Code.FixString + 31:
                length = code & 31;
                break;
            case Code.Nil:
                return null;
            case Code.String8:
                length = input[position++];
                break;
            case Code.String16:
                length = BinaryPrimitives.ReadUInt16BigEndian(input[position..]);
                position += 2;
                break;
            case Code.String32:
                length = BinaryPrimitives.ReadInt32BigEndian(input[position..]);
                position += 4;
                break;
            case Code.Extension32 when input[position + 4] == Code.Utf16Extension:
                length = BinaryPrimitives.ReadInt32BigEndian(input[position..]);
                position += 5;
                var chars = MemoryMarshal.Cast<byte, char>(input.Slice(position, length));
                position += length;
                return new string(chars);
            default:
                throw Code.Unexpected(code, "a string");
        }

        var text = Encoding.UTF8.GetString(input.Slice(position, length));
        position += length;
        return text;
    }
}

internal readonly struct BytesCodec : ICodec<byte[]?>
{
    public static int Bound(byte[]? value) => value is null ? 1 : checked(value.Length + 5);

    public static int Write(Span<byte> output, byte[]? value)
    {
        if (value is null)
        {
            output[0] = Code.Nil;
            return 1;
        }

        if (value.Length <= byte.MaxValue)
        {
            output[0] = Code.Binary8;
            output[1] = (byte)value.Length;
            value.CopyTo(output[2..]);
            return value.Length + 2;
        }

        output[0] = Code.Binary32;
        BinaryPrimitives.WriteInt32BigEndian(output[1..], value.Length);
        value.CopyTo(output[5..]);
        return value.Length + 5;
    }

    public static byte[]? Read(ReadOnlySpan<byte> input, ref int position)
    {
        var code = input[position++];
        int length;
        switch (code)
        {
            case Code.Nil:
                return null;
            case Code.Binary8:
                length = input[position++];
                break;
            case Code.Binary32:
                length = BinaryPrimitives.ReadInt32BigEndian(input[position..]);
                position += 4;
                break;
            default:
                throw Code.Unexpected(code, "bytes");
        }

        var bytes = input.Slice(position, length).ToArray();
        position += length;
        return bytes;
    }
}

internal readonly struct KeyValuePairCodec<TKey, TValue, TKeyCodec, TValueCodec> : ICodec<KeyValuePair<TKey, TValue>>
    where TKeyCodec : struct, ICodec<TKey>
    where TValueCodec : struct, ICodec<TValue>
{
    public static int Bound(KeyValuePair<TKey, TValue> value) => checked(1 + TKeyCodec.Bound(value.Key) + TValueCodec.Bound(value.Value));

    public static int Write(Span<byte> output, KeyValuePair<TKey, TValue> value)
    {
        output[0] = Code.Pair;
        var length = 1 + TKeyCodec.Write(output[1..], value.Key);
        return length + TValueCodec.Write(output[length..], value.Value);
    }

    public static KeyValuePair<TKey, TValue> Read(ReadOnlySpan<byte> input, ref int position)
    {
        Code.ExpectPair(input[position++]);
        var key = TKeyCodec.Read(input, ref position);
        return new(key, TValueCodec.Read(input, ref position));
    }
}

internal readonly struct TupleCodec<TFirst, TSecond, TFirstCodec, TSecondCodec> : ICodec<(TFirst, TSecond)>
    where TFirstCodec : struct, ICodec<TFirst>
    where TSecondCodec : struct, ICodec<TSecond>
{
    public static int Bound((TFirst, TSecond) value) => checked(1 + TFirstCodec.Bound(value.Item1) + TSecondCodec.Bound(value.Item2));

    public static int Write(Span<byte> output, (TFirst, TSecond) value)
    {
        output[0] = Code.Pair;
        var length = 1 + TFirstCodec.Write(output[1..], value.Item1);
        return length + TSecondCodec.Write(output[length..], value.Item2);
    }

    public static (TFirst, TSecond) Read(ReadOnlySpan<byte> input, ref int position)
    {
        Code.ExpectPair(input[position++]);
        var first = TFirstCodec.Read(input, ref position);
        return (first, TSecondCodec.Read(input, ref position));
    }
}

/// <summary>Leading bytes of MessagePack values, https://github.com/msgpack/msgpack/blob/master/spec.md.</summary>
internal static class Code
{
    public const byte Pair = 0x92;
    public const byte FixString = 0xa0;
    public const byte Nil = 0xc0;
    public const byte Binary8 = 0xc4;
    public const byte Binary32 = 0xc6;
    public const byte Extension32 = 0xc9;
    public const byte Float64 = 0xcb;
    public const byte Int8 = 0xd0;
    public const byte Int16 = 0xd1;
    public const byte Int32 = 0xd2;
    public const byte Int64 = 0xd3;
    public const byte String8 = 0xd9;
    public const byte String16 = 0xda;
    public const byte String32 = 0xdb;

    /// <summary>Our extension type: a string as raw UTF-16, little endian.</summary>
    public const byte Utf16Extension = 1;

    public static void ExpectPair(byte code)
    {
        if (code != Pair)
        {
            throw Unexpected(code, "a pair");
        }
    }

    public static InvalidDataException Unexpected(byte code, string wanted) => new($"found byte 0x{code:x2} where {wanted} should begin");
}
